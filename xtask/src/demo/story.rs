//! The demo itself, on this machine: six steps, each said and shown, and one line at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::cgroup::Pod;
use super::disk::{self, Disk};
use super::mount_tracer::{self, MountTracer};
use super::plan::Plan;
use super::undo::Undo;
use super::{volume, writer};

const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(6);
/// The writer's and the kernel's count of the same bytes.
const AGREEMENT: f64 = 0.05;
const RATIO: std::ops::RangeInclusive<f64> = 0.90..=1.10;
/// This node cannot be traced; as mount-tracer's own status.
const CANNOT: u8 = 3;

/// What the closing line says.
struct Shown {
    hooks: String,
    mount_to_limit_us: Value,
    limit: u64,
    rate: f64,
}

/// The agent's side of the fifth step.
struct InForce {
    agent: MountTracer,
    mount_to_limit_us: Value,
}

/// Runs all steps and cleans up.
pub(super) fn run(seed: u64, named_disk: Option<&Path>) -> Result<ExitCode> {
    let plan = Plan::new(seed);
    println!("mount-tracer demo: a pod's volume appears, its disk is limited. Same run again: --seed {seed}");
    if !check()? {
        return Ok(ExitCode::from(CANNOT));
    }
    let mut undo = Undo::default();
    let shown = steps(&plan, named_disk, &mut undo);
    let cleaned = undo.run();
    let shown = shown?;
    cleaned?;
    println!("   Everything that the demo made is gone again.");
    close(&shown)
}

fn steps(plan: &Plan, named_disk: Option<&Path>, undo: &mut Undo) -> Result<Shown> {
    let room = make_room(undo)?;
    let pod = make_pod(plan, undo)?;
    let disk = make_disk(plan, named_disk, &room, undo)?;
    let plan = &measure_before(plan, &pod, &disk, undo)?;
    let (volume, in_force) = mount_the_volume(plan, &pod, &disk, &room, undo)?;
    let rate = measure_after(plan, &pod, &disk, &volume)?;
    let hooks = hooks_of(&in_force.agent.ready)?;
    in_force.agent.stop()?;
    Ok(Shown { hooks, mount_to_limit_us: in_force.mount_to_limit_us, limit: plan.write_limit, rate })
}

fn heading(number: u32, text: &str) {
    println!("\n{number}. {text}");
}

fn show(text: &str) {
    for line in text.lines() {
        println!("   {line}");
    }
}

fn check() -> Result<bool> {
    heading(1, "Can this node be traced? (mount-tracer check)");
    let output = mount_tracer::command()?.arg("check").output().context("cannot run `mount-tracer check`")?;
    show(&String::from_utf8_lossy(&output.stdout));
    show(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        println!("   No: what is missing, and what to do, is said above.");
    }
    Ok(output.status.success())
}

fn make_room(undo: &mut Undo) -> Result<PathBuf> {
    let room = std::env::temp_dir().join(format!("mount-tracer-demo-{}", std::process::id()));
    volume::make_directory(&room, undo)?;
    Ok(room)
}

fn make_pod(plan: &Plan, undo: &mut Undo) -> Result<Pod> {
    heading(2, "A pod, as the kubelet makes one: a cgroup with a container in it");
    let pod = Pod::make(plan, undo)?;
    show(&format!("pod     {}", plan.pod_uid));
    show(&format!("cgroup  {}", pod.name));
    Ok(pod)
}

fn make_disk(plan: &Plan, named: Option<&Path>, room: &Path, undo: &mut Undo) -> Result<Disk> {
    heading(3, "A disk for its volume, with an ext4 on it");
    let disk = disk::prepare(named, plan, room, undo)?;
    show(&format!("disk    {}, number {}", disk.path.display(), disk.number));
    show(&format!("volume  {}", plan.volume));
    Ok(disk)
}

/// Mounted somewhere else, because a volume would be limited at once. What comes of it is a plan that fits the disk.
fn measure_before(plan: &Plan, pod: &Pod, disk: &Disk, undo: &mut Undo) -> Result<Plan> {
    heading(4, "How fast can the pod write to that disk without a limit?");
    // Gone before the next step, as everything on this inner stack.
    let mut inner = Undo::default();
    let target = Path::new("/mnt/demo-before");
    volume::make_directory(target, undo)?;
    volume::mount(disk, target, &mut inner)?;
    let file = target.join("mount-tracer-demo");
    remove_later(&file, &mut inner);
    let before = writer::write(pod, &file, BEFORE)?;
    inner.run()?;
    show(&format!("{} per second, over {:.1} s", size(before.rate()), before.elapsed.as_secs_f64()));
    let Some(fitting) = plan.fitting(whole(before.rate())) else {
        bail!(
            "{} writes {} per second alone; the demo needs a disk that writes {}: stop what else writes to it, or name another one with \
             --native --disk",
            disk.path.display(),
            size(before.rate()),
            size(as_float(Plan::least_rate()))
        );
    };
    Ok(fitting)
}

fn mount_the_volume(plan: &Plan, pod: &Pod, disk: &Disk, room: &Path, undo: &mut Undo) -> Result<(PathBuf, InForce)> {
    heading(5, "mount-tracer watches, the volume is mounted, and its disk is limited");
    let policy = write_policy(plan, room, undo)?;
    let mut trace = MountTracer::start(&["trace", "-o", "table"])?;
    let mut agent = MountTracer::start(&[Path::new("agent"), Path::new("--policy"), &policy])?;
    show(&format!(
        "the policy asks for at most {} read and {} written per second",
        size(as_float(plan.read_limit)),
        size(as_float(plan.write_limit))
    ));
    let target = volume::path(plan);
    volume::make_directory(&target, undo)?;
    volume::mount(disk, &target, undo)?;

    println!("\n   The mount, as `mount-tracer trace` shows it:");
    show_mount(&mut trace, plan)?;
    trace.stop()?;

    println!("\n   The decision, as `mount-tracer agent` reports it:");
    let (line, decision) = decision_for(&mut agent, plan)?;
    show(&line);
    expect(&decision, "decision", "applied")?;
    expect(&decision, "disk", &disk.number)?;
    expect(&decision, "cgroup", &pod.name)?;

    println!("\n   The limit, as the kernel has it in {}:", pod.directory.join("io.max").display());
    let line = pod
        .line_of("io.max", &disk.number)?
        .context("the agent says `applied`, but io.max has no line for the disk")?;
    show(&line);
    let wanted = [format!("rbps={}", plan.read_limit), format!("wbps={}", plan.write_limit)];
    if let Some(missing) = wanted.iter().find(|field| !line.split(' ').any(|part| part == field.as_str())) {
        bail!("the agent says `applied`, but io.max does not hold {missing}");
    }
    let micros = decision.get("mount_to_limit_us").cloned().unwrap_or_default();
    let Some(number) = micros.as_f64() else { bail!("mount_to_limit_us is {micros}, no time") };
    show(&format!("in force {:.1} ms after the kernel had made the mount", number / 1000.0));
    Ok((target, InForce { agent, mount_to_limit_us: micros }))
}

/// Up to the line of the volume's mount: the heading of the table comes first.
fn show_mount(trace: &mut MountTracer, plan: &Plan) -> Result<()> {
    loop {
        let line = trace.next_line().context("the mount of the volume was not shown")?;
        show(&line);
        // A table may cut a path on its left.
        if line.contains(&plan.volume[plan.volume.len() - 12..]) {
            return Ok(());
        }
    }
}

fn decision_for(agent: &mut MountTracer, plan: &Plan) -> Result<(String, Value)> {
    loop {
        let line = agent.next_line().context("no decision for the volume")?;
        let decision: Value =
            serde_json::from_str(&line).with_context(|| format!("a decision that is no JSON: {line}"))?;
        if decision.get("pod_uid").and_then(Value::as_str) == Some(&plan.pod_uid) {
            return Ok((line, decision));
        }
    }
}

fn expect(decision: &Value, key: &str, wanted: &str) -> Result<()> {
    let found = decision.get(key).unwrap_or(&Value::Null);
    if found.as_str() != Some(wanted) {
        bail!(
            "{key} in the agent's decision is {found}, expected {wanted:?}; reason: {}",
            decision.get("reason").unwrap_or(&Value::Null)
        );
    }
    Ok(())
}

fn measure_after(plan: &Plan, pod: &Pod, disk: &Disk, volume: &Path) -> Result<f64> {
    heading(6, "How fast can the pod write to its volume now?");
    let file = volume.join("mount-tracer-demo");
    let mut inner = Undo::default();
    remove_later(&file, &mut inner);
    let counted_before = pod.written_bytes(&disk.number)?;
    let after = writer::write(pod, &file, AFTER)?;
    let counted = pod.written_bytes(&disk.number)?.saturating_sub(counted_before);
    inner.run()?;
    let rate = after.rate();
    show(&format!(
        "{} per second, over {:.1} s; the limit is {}",
        size(rate),
        after.elapsed.as_secs_f64(),
        size(as_float(plan.write_limit))
    ));
    show(&format!("the kernel counted {counted} bytes in the pod's io.stat, the pod itself {}", after.bytes));
    let off = (as_float(counted) / as_float(after.bytes) - 1.0).abs();
    if off > AGREEMENT {
        bail!("the pod wrote {} bytes, the kernel counted {counted}: {:.1} % apart", after.bytes, off * 100.0);
    }
    Ok(rate)
}

fn close(shown: &Shown) -> Result<ExitCode> {
    let limit = shown.limit;
    let ratio = shown.rate / as_float(limit);
    let uname = rustix::system::uname();
    println!(
        "\ndemo: kernel={} hooks={} mount_to_limit_us={} limit_bytes_per_second={limit} measured_bytes_per_second={:.0} ratio={ratio:.3}",
        uname.release().to_string_lossy(),
        shown.hooks,
        shown.mount_to_limit_us,
        shown.rate
    );
    if !RATIO.contains(&ratio) {
        bail!("the pod wrote at {ratio:.3} times its limit; expected {} to {}", RATIO.start(), RATIO.end());
    }
    Ok(ExitCode::SUCCESS)
}

fn write_policy(plan: &Plan, room: &Path, undo: &mut Undo) -> Result<PathBuf> {
    let file = room.join("policy.yaml");
    let text = format!(
        "mode: enforce\nrules:\n  - name: demo\n    match: {{ volume: {} }}\n    limits: {{ readBps: {}, writeBps: {} }}\n",
        plan.volume, plan.read_limit, plan.write_limit
    );
    fs::write(&file, text).with_context(|| format!("cannot write the policy {}", file.display()))?;
    let remove = file.clone();
    undo.later("the policy", move || fs::remove_file(&remove).context("cannot remove it"));
    Ok(file)
}

fn remove_later(file: &Path, undo: &mut Undo) {
    let file = file.to_owned();
    undo.later(format!("the file {}", file.display()), move || match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot remove it"),
        _ => Ok(()),
    });
}

fn hooks_of(ready: &str) -> Result<String> {
    let hooks = ready.split_whitespace().find_map(|word| word.strip_prefix("hooks="));
    hooks.map(str::to_owned).with_context(|| format!("the agent's ready line names no hooks: {ready:?}"))
}

fn size(bytes: f64) -> String {
    format!("{:.2} MiB", bytes / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "some megabytes are exact in 53 bits")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some megabytes, and never below zero")]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}
