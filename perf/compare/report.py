"""What a comparison found, as JSON with every sample and as Markdown with medians and ratios. Measures nothing itself."""

import os
import pathlib
import platform
import statistics

LOAD_AVERAGE_QUIET = 0.5
QUANTITIES = [
    ("records_s", "records/s", "{:,.0f}", "higher"),
    ("mb_s", "MB/s", "{:,.1f}", "higher"),
    ("cpu_s_per_gb", "broker CPU s/GB", "{:.2f}", "lower"),
]


def machine(work):
    """What a reader must know of the machine to judge the figures."""
    cpu = [line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    mounts = [line.split()[1:3] for line in open("/proc/mounts")]
    inside = [(where, kind) for where, kind in mounts if pathlib.Path(where) in [work, *work.parents]]
    return {
        "cpu": cpu[0] if cpu else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "file_system": max(inside, key=lambda found: len(found[0]))[1], "load_average_at_start": os.getloadavg()[0],
    }


def summarise(samples, baseline):
    """Per workload and target: median, least and most of each quantity, and the median's ratio to the baseline's."""
    rows = {}
    for sample in samples:
        rows.setdefault(sample["workload"], {}).setdefault(sample["target"], []).append(sample)
    summary = {}
    for workload, targets in rows.items():
        for target, found in targets.items():
            cell = summary.setdefault(workload, {})[target] = {"rounds": len(found)}
            for quantity, *_ in QUANTITIES:
                values = [sample[quantity] for sample in found]
                base = statistics.median(sample[quantity] for sample in targets.get(baseline, found))
                median = statistics.median(values)
                cell[quantity] = {"median": median, "least": min(values), "most": max(values), "ratio": median / base if base else None}
    return summary


def markdown(result):
    """The report that a person reads."""
    about, run = result["machine"], result["run"]
    lines = [
        "%s, %d cores, %s GiB, Linux %s, %s. Load average when it began: %.2f." % (
            about["cpu"], about["cores"], about["memory_gib"], about["kernel"], about["file_system"], about["load_average_at_start"]),
        "", "Reproduce with `%s`. %d interleaved rounds, about %g s a measurement; broker on core %d, load on core %d. Median (least – most); ratios are to `%s`." % (
            run["command_line"], run["rounds"], run["seconds"], run["broker_core"], run["load_core"], run["baseline"]), "",
    ]
    if about["load_average_at_start"] > LOAD_AVERAGE_QUIET:
        lines += ["**The machine was busy with something else: not a result to quote.**", ""]
    lines += ["- `%s`: %s" % (name, what) for name, what in run["targets"].items()]
    lines += ["- **`%s` failed in round %d and was left out after it:** %s" % (f["target"], f["round"], f["why"]) for f in result["failures"]]
    for quantity, title, form, better in QUANTITIES:
        lines += ["", "**%s** (%s is better)" % (title, better), ""]
        lines += table(result["summary"], list(run["targets"]), quantity, form, run["baseline"])
    return "\n".join(lines) + "\n"


def table(summary, targets, quantity, form, baseline):
    yield "| workload | %s |" % " | ".join(targets)
    yield "|---|%s" % ("---|" * len(targets))
    for workload, cells in summary.items():
        row = []
        for target in targets:
            if target not in cells:
                row.append("failed")
                continue
            cell = cells[target][quantity]
            text = "%s (%s – %s)" % tuple(form.format(cell[k]) for k in ("median", "least", "most"))
            row.append(text if target == baseline or cell["ratio"] is None else "%s, **%.2f×**" % (text, cell["ratio"]))
        yield "| %s | %s |" % (workload, " | ".join(row))
