#!/bin/bash
# What is out of date of the pipeline, on several nodes: from the clone, which all nodes share,
#   sbatch launch/slurm.sh
# `dvc repro` runs on the first node; its stages generate, train and evaluate start one torchrun a
# node, which starts a process a GPU and meets the others at the first node. Arguments go to DVC.
#SBATCH --job-name=fdpo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
set -euo pipefail
source .venv/bin/activate
MEETING="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):29500"
export MEETING OMP_NUM_THREADS=4
# Quoted, as the shell that runs a stage fills it in: dvc.lock then holds no job's own values.
LAUNCH='srun torchrun --nnodes=$SLURM_NNODES --nproc-per-node=$SLURM_GPUS_ON_NODE'
LAUNCH+=' --rdzv-backend=c10d --rdzv-endpoint=$MEETING --rdzv-id=$SLURM_JOB_ID'
sed --in-place "s|^launch:.*|launch: $LAUNCH|" params.yaml
dvc repro "$@"
