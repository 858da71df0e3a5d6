#!/bin/bash
# A sweep's rows that are not done, as a Slurm array, from a clone that all nodes share:
#   bash launch/slurm-array.sh controlled
# It submits itself twice: once for the data of each seed, then for the rows, which wait for them.
# Each task is a job of its own, so what fails or is lost runs again by the same command.
#SBATCH --cpus-per-task=4
#SBATCH --time=01:00:00
#SBATCH --output=.dvc/tmp/sweeps/slurm-%A-%a.log
set -euo pipefail
source .venv/bin/activate
SWEEP=$1
if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
  mkdir -p .dvc/tmp/sweeps
  COMMIT=$(git rev-parse HEAD)
  python -m experiments.sweep list "$SWEEP" --data > ".dvc/tmp/sweeps/$SWEEP.data"
  python -m experiments.sweep list "$SWEEP" > ".dvc/tmp/sweeps/$SWEEP.rows"
  [ -s ".dvc/tmp/sweeps/$SWEEP.rows" ] || exit 0
  DATA=$(sbatch --parsable --array=1-"$(wc -l < ".dvc/tmp/sweeps/$SWEEP.data")" \
    "$0" "$SWEEP" data --data --commit "$COMMIT")
  exec sbatch --dependency=afterok:"$DATA" --array=1-"$(wc -l < ".dvc/tmp/sweeps/$SWEEP.rows")" \
    "$0" "$SWEEP" rows --commit "$COMMIT"
fi
export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}
ROW=$(sed -n "${SLURM_ARRAY_TASK_ID}p" ".dvc/tmp/sweeps/$SWEEP.$2")
exec python -m experiments.sweep row "$SWEEP" "$ROW" "${@:3}"
