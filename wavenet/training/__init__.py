"""Training of a model on a folder of audio; the result is a checkpoint.

The files in the order in which data flows:

- `recipe`: settings from a TOML file.
- `segmentation`, `corpus_dataset`, `dataset`: recordings -> clips; `dataset_report`: a report.
- `resolve_config`: recipe and dataset -> the config of the checkpoint.
- `batches`, `prefetch`: clips -> batches of codes, on the device of the step.
- `nll`, `fused_blocks`, `cpu_loss`: model and batch -> loss.
- `task`: all of that behind one protocol, for `loop`.
- `muon`, `schedule`, `state`: optimizer, learning rate, and the state that a step updates.
- `loop`, `distributed`, `step_metrics`, `thread_choice`: the steps, in one or several processes.
- `snapshots`, `model_card`, `progress_report`: the files and messages of a run.
- `warm_worker`, `run_process`, `run_status`, `metrics_history`: runs as processes, for the studio.
"""
