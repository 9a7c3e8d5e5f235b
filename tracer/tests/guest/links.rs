//! What is attached while the tracer runs: the kernel is asked, and what it says is held against what `check` claims,
//! both ways. Afterwards nothing is left.
//!
//! Trampolines: of each link among the tracer's descriptors the kernel says the kind, and from 5.13 on the target; the file
//! `enabled_functions` says which functions have one. Kprobes: the file `kprobes/list`. Nothing else in a guest attaches.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;

use super::ground;
use super::kernel::Debugfs;
use super::program::{LINE, Program, attach_kind, command};
use super::trial::trial;
use super::{btf, kernel, raw};

const ENABLED: &str = "/sys/kernel/tracing/enabled_functions";
/// `BPF_TRACE_RAW_TP`, `BPF_TRACE_FENTRY` and `BPF_TRACE_FEXIT` of `linux/bpf.h`.
const KINDS: [(&str, &str); 3] = [("23", "tp_btf"), ("24", "fentry"), ("25", "fexit")];
/// Where in a link's information the number of its target's type is, in words.
const TARGET: usize = 6;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("links::what_check_claims_is_what_the_kernel_has", what_check_claims_is_what_the_kernel_has),
        trial("links::the_agent_watches_cgroups_too", the_agent_watches_cgroups_too),
    ]
}

/// Kind and function.
type Hook = (String, String);
/// Hooks, and how many programs are there: two can be of one kind at one function.
type Hooks = BTreeMap<Hook, usize>;

/// What the kernel says.
#[derive(Debug, Default)]
struct Attached {
    /// Functions with a trampoline.
    trampolines: BTreeSet<String>,
    /// Kprobes and kretprobes with their functions.
    kprobes: Hooks,
    /// Links by kind: how many.
    links: BTreeMap<String, usize>,
    /// Links with their targets, where the kernel names them; else nothing.
    targets: Hooks,
}

fn what_check_claims_is_what_the_kernel_has() -> Result<()> {
    let debug = Debugfs::mount()?;
    let list = debug.path.join("kprobes/list");
    expect_nothing_attached(&list)?;
    let claims = claims()?;
    // It attaches all that there is.
    let agent = agent()?;
    let attached = Attached::read(&agent, &list)?;
    eprintln!("the kernel has {attached:?}");
    // What watches cgroups has a trial of its own.
    let claims: Hooks = claims.into_iter().filter(|((kind, _), _)| !is_tracepoint(kind)).collect();
    let differences = attached.differences(&claims);
    ensure!(differences.is_empty(), "check and the kernel differ:\n{}", differences.join("\n"));
    expect_each_difference_found(&attached, &claims)?;
    expect_kind_asked_for(&claims)?;
    agent.terminate()?;
    expect_nothing_attached(&list)?;
    debug.unmount()
}

/// The twin: the same comparison, when a claim is missing or one too many is there.
fn expect_each_difference_found(attached: &Attached, claims: &Hooks) -> Result<()> {
    for (claim, count) in claims {
        let mut fewer = claims.clone();
        fewer.insert(claim.clone(), count - 1);
        // Two programs at one function share a trampoline: the number of links tells them apart.
        ensure!(!attached.differences(&fewer).is_empty(), "nobody would miss the claim {claim:?}");
    }
    let mut more = claims.clone();
    more.insert(("fentry".to_owned(), "no_such_function".to_owned()), 1);
    ensure!(!attached.differences(&more).is_empty(), "a claim of what is not attached would pass");
    Ok(())
}

/// With a kind asked for, what can be attached as it is attached as nothing else.
fn expect_kind_asked_for(claims: &Hooks) -> Result<()> {
    let allowed: &[&str] = match attach_kind().as_deref() {
        Some("kprobe") => &["kprobe", "kretprobe"],
        Some("fentry") => &["fentry", "fexit"],
        _ => return Ok(()),
    };
    let other: Vec<&Hook> = claims.keys().filter(|(kind, _)| !allowed.contains(&kind.as_str())).collect();
    ensure!(other.is_empty(), "asked for {allowed:?}, but there is {other:?}");
    Ok(())
}

/// The tracepoints that `check` claims besides are there when the agent runs.
fn the_agent_watches_cgroups_too() -> Result<()> {
    let debug = Debugfs::mount()?;
    let list = debug.path.join("kprobes/list");
    let claims = claims()?.into_keys();
    let claimed: BTreeSet<String> =
        claims.filter(|(kind, _)| is_tracepoint(kind)).map(|(_, tracepoint)| tracepoint).collect();
    ensure!(!claimed.is_empty(), "check names no tracepoint");
    let agent = agent()?;
    let links: BTreeSet<String> = links(&agent)?.into_iter().filter_map(|link| link.tracepoint).collect();
    ensure!(links == claimed, "check claims the tracepoints {claimed:?}, the kernel has {links:?}");
    agent.terminate()?;
    expect_nothing_attached(&list)?;
    debug.unmount()
}

/// A running agent with a policy that wants nothing.
fn agent() -> Result<Program> {
    let policy = ground::directory("policy")?.join("policy.yaml");
    ground::write_file(&policy, "mode: observe\nrules: []\n")?;
    let mut agent = Program::start(&["agent", "--policy", policy.to_str().context("our own paths are UTF-8")?])?;
    agent.wait_ready()?;
    Ok(agent)
}

fn is_tracepoint(kind: &str) -> bool {
    kind.starts_with("tp")
}

/// The hooks that `check` prints: `ok   hook fentry path_mount: ...`, or `kprobe+kretprobe` for two at once. A line
/// without a kind is of a function that this kernel does not have.
fn claims() -> Result<Hooks> {
    let output = command(&["check"]).output().context("cannot run mount-tracer check")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix("ok")?.trim_start().strip_prefix("hook "));
    let mut hooks = Hooks::new();
    for line in lines {
        let head = line.split(':').next().unwrap_or_default();
        let Some((kinds, function)) = head.split_once(' ') else { continue };
        for kind in kinds.split('+') {
            *hooks.entry((kind.to_owned(), function.to_owned())).or_default() += 1;
        }
    }
    ensure!(!hooks.is_empty(), "check claims no hook: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(hooks)
}

impl Attached {
    fn read(program: &Program, list: &Path) -> Result<Self> {
        let mut attached = Self { trampolines: trampolines()?, kprobes: kprobes(list)?, ..Self::default() };
        let mut targets = Vec::new();
        for link in links(program)? {
            *attached.links.entry(link.kind.clone()).or_default() += 1;
            targets.extend(link.target.map(|target| (link.kind, target)));
        }
        let numbers: Vec<u32> = targets.iter().map(|(_, target)| *target).collect();
        let names = btf::names(&numbers)?;
        for (kind, target) in targets {
            let name = names.get(&target).with_context(|| format!("a link's target {target} is no type"))?;
            *attached.targets.entry((kind, name.clone())).or_default() += 1;
        }
        Ok(attached)
    }

    /// What is claimed and not attached, and what is attached and not claimed.
    fn differences(&self, claims: &Hooks) -> Vec<String> {
        let traced = of(claims, &["fentry", "fexit"]);
        let functions: BTreeSet<String> = traced.keys().map(|(_, function)| function.clone()).collect();
        let mut found = Vec::new();
        if functions != self.trampolines {
            found.push(format!("trampolines: claimed {functions:?}\n  the kernel has {:?}", self.trampolines));
        }
        found.extend(difference("kprobes", &of(claims, &["kprobe", "kretprobe"]), &self.kprobes));
        for kind in ["fentry", "fexit"] {
            let claimed: usize = of(claims, &[kind]).values().sum();
            let has = self.links.get(kind).copied().unwrap_or_default();
            if claimed != has {
                found.push(format!("{claimed} links of kind {kind} are claimed, the kernel has {has}"));
            }
        }
        if !self.targets.is_empty() {
            found.extend(difference("links", &traced, &of(&self.targets, &["fentry", "fexit"])));
        }
        found
    }
}

/// Those of some kinds that are there at all.
fn of(hooks: &Hooks, kinds: &[&str]) -> Hooks {
    let wanted = |((kind, _), count): &(&Hook, &usize)| kinds.contains(&kind.as_str()) && **count > 0;
    hooks.iter().filter(wanted).map(|(hook, count)| (hook.clone(), *count)).collect()
}

fn difference(what: &str, claimed: &Hooks, has: &Hooks) -> Option<String> {
    let apart = |left: &Hooks, right: &Hooks| -> Vec<(Hook, usize)> {
        let differs = |(hook, count): &(&Hook, &usize)| right.get(*hook) != Some(*count);
        left.iter().filter(differs).map(|(hook, count)| (hook.clone(), *count)).collect()
    };
    let (missing, extra) = (apart(claimed, has), apart(has, claimed));
    (claimed != has).then(|| format!("{what}: claimed {missing:?}\n  the kernel has instead {extra:?}"))
}

/// One line a function: its name, how often it is traced, flags (`D`: a direct call to a trampoline), more.
fn trampolines() -> Result<BTreeSet<String>> {
    let text = kernel::read(ENABLED)?;
    let direct = |line: &str| {
        let mut words = line.split("tramp:").next()?.split_whitespace();
        let function = words.next()?.to_owned();
        words.any(|word| word == "D").then_some(function)
    };
    Ok(text.lines().filter(|line| !line.starts_with(char::is_whitespace)).filter_map(direct).collect())
}

/// One line a probe: an address, `k` or `r`, `function+0x0`, flags.
fn kprobes(list: &Path) -> Result<Hooks> {
    let text = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let probe = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let kind = match words.next()? {
            "r" => "kretprobe",
            _ => "kprobe",
        };
        Some((kind.to_owned(), words.next()?.split('+').next()?.to_owned()))
    };
    let mut hooks = Hooks::new();
    for hook in text.lines().filter_map(probe) {
        *hooks.entry(hook).or_default() += 1;
    }
    Ok(hooks)
}

/// A link among the descriptors of a process.
struct Link {
    kind: String,
    /// The number of its target's type, where the kernel says it.
    target: Option<u32>,
    /// The name of its tracepoint, when it is at one.
    tracepoint: Option<String>,
}

fn links(program: &Program) -> Result<Vec<Link>> {
    let directory = format!("/proc/{}/fdinfo", program.pid().as_raw_nonzero());
    let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {directory}"))?;
    let mut found = Vec::new();
    for entry in entries {
        // A descriptor may be closed meanwhile; a link is not.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        if let Some(mut link) = link(&text) {
            let id = field(&text, "link_id").and_then(|id| id.parse().ok()).context("a link without a number")?;
            let info = raw::link_info(id).with_context(|| format!("cannot ask for link {id}"))?;
            // Where the number is, other kinds have something else.
            link.target =
                (KINDS.iter().any(|(_, kind)| *kind == link.kind) && info[TARGET] != 0).then_some(info[TARGET]);
            found.push(link);
        }
    }
    Ok(found)
}

/// A line of an fdinfo file.
fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim))
}

fn link(text: &str) -> Option<Link> {
    let kind = match field(text, "link_type")? {
        "tracing" => {
            let number = field(text, "attach_type")?;
            KINDS.iter().find(|(known, _)| *known == number).map_or(number, |(_, name)| name)
        }
        other => other,
    };
    Some(Link { kind: kind.to_owned(), target: None, tracepoint: field(text, "tp_name").map(str::to_owned) })
}

/// The kernel lets go of a link some time after its last close, and tells nobody: this is asked for until it has.
fn expect_nothing_attached(list: &Path) -> Result<()> {
    let deadline = Instant::now() + LINE;
    loop {
        let (trampolines, kprobes) = (trampolines()?, kprobes(list)?);
        if trampolines.is_empty() && kprobes.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "still attached after {LINE:?}: {trampolines:?} {kprobes:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
