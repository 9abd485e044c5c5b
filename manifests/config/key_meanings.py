"""What each key of a config file is, in a few words; what it may hold is said by RunConfig"""

from __future__ import annotations

from typing import Dict

#: Title of a section -> its keys, in the order of RunConfig -> what each is.
SECTIONS: Dict[str, Dict[str, str]] = {
    "Training": {
        "arch": "the network",
        "nclasses": "classes of the data set",
        "insize": "side of the square input; only nin has a choice",
        "epoch": "passes over the training set",
        "batchsize": "samples of a step on each rank",
        "val_batchsize": "the same in validation",
        "seed": "decides initial parameters, order of samples, augmentation",
        "precision": "of the arithmetic; mixed is for GPUs",
    },
    "Optimizer": {
        "optimizer": "the rule by which parameters change",
        "lr": "learning rate of a step; with lr_batch that of a step with so many samples",
        "lr_batch": "the rate is lr x samples of a step of all ranks / lr_batch",
        "momentum": "for momentum_sgd and rmsprop_warmup",
        "weight_decay": "this times each parameter is added to its gradient",
        "lr_decay_factor": "the rate is multiplied by it ...",
        "lr_decay_epochs": "... each time so many epochs have passed",
        "warmup_epochs": "epochs in which the rate rises to its full value",
    },
    "Data": {
        "train": "training list, with lines `<path> <label>`",
        "train_root": "folder at which its paths begin (default: the list's own)",
        "val": "validation list",
        "val_root": "folder at which its paths begin (default: the list's own)",
        "train_pack": "packed training set, for loadtype: custom",
        "val_pack": "packed validation set, for loadtype: custom",
        "mean.npy": "mean image: float32, (3, 256, 256)",
        "initmodel": "parameters to begin with",
        "resume": "the run or checkpoint that this run continues from",
    },
    "Output": {
        "out": "folder in which the run directory is made",
        "test": "true: evaluate and log at every step",
        "trail_interval": "steps between two digests of all parameters",
        "snapshot_limit": "more code than this is refused",
        "checkpoint_minutes": "time between two checkpoints",
        "checkpoint_interval": "also a checkpoint after each so many steps",
        "checkpoints_kept": "so many of the newest checkpoints stay",
        "checkpoint_archive": "and so many spread over the run, for checks of parts of it",
    },
    "Citation": {
        "authors": "who is named for the run: a list of names, or of {name, orcid, affiliation}",
        "license": "of what the run leaves, such as CC-BY-4.0",
    },
    "Execution": {
        "stack": "software, which names the image",
        "communicator": "how the gradients of ranks are added",
        "loadtype": "custom: from packed files (data pack)",
        "iterator": "what loads the samples",
        "loaderjob": "loader processes or threads of each rank",
    },
    "Site and scheduler": {
        "site": "profile of the cluster (docs/sites.md)",
        "group": "group or account to charge",
        "jobname": "also the beginning of the run directory's name",
        "nnodetype": "one of the site's node types",
        "nnodes": "nodes",
        "ranks_per_node": "ranks of a node, usually one for each GPU",
        "processes": "fewer than ranks: a process computes several of them, with the same bits",
        "share_gpus": "ranks may share GPUs, with naive and flat",
        "walltime": "the run saves and ends before this time is over",
        "stdout": "file of the job's output; $JOB_ID is the job's id",
        "stderr": "file of the job's errors",
        "others": "further scheduler directives, such as {m: abe}",
        "modules": "modules to load: a file, or {name: module}",
    },
}

MEANINGS: Dict[str, str] = {key: text for keys in SECTIONS.values() for key, text in keys.items()}
