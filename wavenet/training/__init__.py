"""Training: a folder of audio -> a checkpoint.

The files in the order in which data flows:

- `recipe`: settings from a TOML file.
- `segmentation`, `corpus_dataset`, `dataset`: recordings -> clips; `dataset_report` describes them.
- `resolve_config`: recipe and dataset -> the config of the checkpoint.
- `batches`, `prefetch`: clips -> batches of codes, on the device of the step.
- `nll`, `fused_blocks`, `cpu_loss`: model and batch -> loss.
- `task`: all of that behind one protocol, for `loop`.
- `muon`, `schedule`, `state`: what a step updates.
- `loop`, `distributed`, `step_metrics`: the steps, in one or several processes.
- `snapshots`, `model_card`, `progress_report`: what a run writes.
- `warm_worker`, `run_process`, `run_status`, `metrics_history`: runs as processes, for the studio.
"""
