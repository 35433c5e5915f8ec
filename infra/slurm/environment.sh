# What every shell of yours needs for this project on this cluster. Copy it to the project's folder, edit the copy, and
# source it there: docs/cluster.md.

# module load python/3.11 cuda/12.4
source .venv/bin/activate

# On a file system that login and compute nodes see under one path, with room for data, checkpoints and results.
export DIFFSENSEI_STORE=/shared/$USER/diffsensei

# Where jobs run and what they may take: `diffsensei show paper` lists all of jobs.*.
JOBS=(
    --set jobs.backend=slurm
    --set jobs.slurm.partition=gpu
    --set jobs.slurm.account=my-project
    --set jobs.processes_per_node=8          # GPUs of a node
    --set jobs.walltime_h=24                 # at most the partition's limit; work goes on in the next job
    # --set jobs.slurm.gpu_request='--gres=gpu:a100:{gpus}'
    # --set jobs.slurm.prologue='["module load cuda/12.4"]'
    # --set jobs.here='["download"]'         # compute nodes have no way out
)
