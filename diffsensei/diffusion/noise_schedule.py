"""The noise that SDXL and everything made from it was trained with."""

NOISE_SCHEDULE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
"""SDXL's (scheduler/scheduler_config.json of its base model): 1000 steps, alpha-bar 0.9991 to 0.0047."""
