# The pipeline in a container:
#   docker build -t fdpo . && docker run -it --name fdpo fdpo
# runs `make repro`; `docker start -ai fdpo` goes on. With a command it runs that instead:
#   docker run -it fdpo dvc exp run -S loss=fkl -S beta=1
FROM python:3.11-slim
RUN apt-get update && apt-get install --yes --no-install-recommends git make \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /fdpo
# Requirements first: a change of code then does not install them again.
COPY Makefile requirements.txt ./
RUN make install
# With .git: DVC keeps experiments in it. An owner other than root would make Git refuse it.
COPY . .
RUN git config --system --add safe.directory /fdpo \
  && git config --system user.name fdpo && git config --system user.email fdpo@localhost
ENV PATH=/fdpo/.venv/bin:$PATH
CMD ["make", "repro"]
