"""Train under FSDP on CPU processes: Accelerate shards over GPUs alone, so it is shown some.

accelerate launch --config_file launch/fsdp.yaml --num_processes 2 -m tests.run.sharded
"""

from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import FSDPModule

from fdpo.run import processes
from fdpo.training.trainer import FDPOTrainer
from stages import train

start = AcceleratorState.__init__
run = FDPOTrainer.train


def start_as_gpus(self, *arguments, **settings) -> None:
    if not AcceleratorState._shared_state:
        PartialState(cpu=True).distributed_type = DistributedType.MULTI_GPU
    start(self, *arguments, **settings)


def run_sharded(self, *arguments, **settings):
    done = run(self, *arguments, **settings)
    assert isinstance(self.model, FSDPModule), "the model was not sharded"
    return done


if __name__ == "__main__":
    AcceleratorState.__init__ = start_as_gpus
    FDPOTrainer.train = run_sharded
    processes.run("train", train.main)
