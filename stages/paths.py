"""The files of the pipeline, each named once; dvc.yaml says which stage reads and writes which."""

from pathlib import Path

USER_DATA = Path("user_data")

DATA = Path("data")
STUDY_OF_RUN = DATA / "study.json"
LOCAL_INPUTS = DATA / "inputs.json"  # sha256 of each local file and folder that the study names
PROMPTS = DATA / "prompts.jsonl"
TEXT_SOURCES = DATA / "source.json"  # what the prompts and pairs were read from
GENERATIONS = DATA / "generations.jsonl"
SCORES = DATA / "scores.jsonl"
PAIRS = DATA / "pairs.jsonl"
TRAIN_PAIRS = DATA / "train.jsonl"
TEST_PAIRS = DATA / "test.jsonl"

MODELS = Path("models")
REFERENCE_MODEL = MODELS / "reference"
REWARD_MODEL = MODELS / "reward"
JUDGE_MODEL = MODELS / "judge"
POLICY = MODELS / "policy"

RESULTS = Path("results")
TRAINING_RESULTS = RESULTS / "train"
CURVE_FOLDER = TRAINING_RESULTS / "plots" / "metrics"  # as DVCLive lays them out
EVALUATION_RESULTS = RESULTS / "evaluate"
METRICS_WITH_INTERVALS = EVALUATION_RESULTS / "metrics.json"
OBJECTIVE_OF_RESULTS = EVALUATION_RESULTS / "objective.json"  # models/policy/objective.json
SAMPLES = EVALUATION_RESULTS / "samples.jsonl"
REWARD_VALUES = EVALUATION_RESULTS / "rewards.json"
REWARDS_BY_PROMPT = EVALUATION_RESULTS / "prompts.json"
CALIBRATION = EVALUATION_RESULTS / "calibration.json"
REFERENCE_BASELINES = RESULTS / "baselines.json"
HEADLINE_NUMBERS = RESULTS / "metrics.json"
