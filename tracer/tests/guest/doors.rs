//! How a running agent is asked, and that one agent runs at a time.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::asking::{AUDIT, Client, DIRECTORY, METRICS, Reply, SECTIONS, SOCKET, TABLES};
use super::node::Agent;
use super::program::{LINE, Program};
use super::trial::trial;
use super::{ground, kernel};

/// Clients that the agent answers at once.
const CLIENTS: usize = 8;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("doors::questions_and_what_is_none", questions_and_what_is_none),
        trial("doors::clients_that_do_not_read_or_are_too_many", clients_that_do_not_read_or_are_too_many),
        trial("doors::a_second_agent", a_second_agent),
        trial("doors::after_a_kill", after_a_kill),
        trial("doors::where_nothing_can_be_made", where_nothing_can_be_made),
        trial("doors::metrics_count_what_was_done", metrics_count_what_was_done),
        trial("doors::it_lives_and_is_ready", it_lives_and_is_ready),
        trial("doors::requests_that_are_none", requests_that_are_none),
        trial("doors::an_address_that_is_taken", an_address_that_is_taken),
    ]
}

/// Each line is answered, and none of them ends the conversation.
fn questions_and_what_is_none() -> Result<()> {
    // As an agent of another age may have left it.
    ground::make_directory(Path::new(DIRECTORY))?;
    fs::set_permissions(DIRECTORY, Permissions::from_mode(0o777))?;
    let agent = Agent::start("observe", &[])?;
    for (path, mode) in [(DIRECTORY, 0o700), (SOCKET, 0o600)] {
        let found = fs::metadata(path).with_context(|| format!("no {path}"))?;
        ensure!((found.mode() & 0o777, found.uid()) == (mode, 0), "{path} has mode {:o}", found.mode());
    }
    let mut client = Client::connect()?;
    expect_tables(&mut client)?;
    for (line, named) in [
        (&b"garbage"[..], "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe\0", "not JSON"),
        (b"[]", "not a JSON object"),
        (br#"{"version":2,"query":"tables"}"#, "version 2"),
        (br#"{"version":1,"query":"mounts"}"#, "query \"mounts\""),
        (br#"{"version":1,"query":"tables","mntns":1}"#, "field \"mntns\""),
    ] {
        let error = client.error(line)?;
        ensure!(error.contains(named), "{:?} is answered by {error:?}", String::from_utf8_lossy(line));
        expect_tables(&mut client)?;
    }
    expect_sections(&mut client)?;
    let (tables, end) = client.ask(AUDIT)?;
    ensure!(tables.is_empty() && end["differences"] == Value::Array(Vec::new()), "an audit found {end} in {tables:?}");
    // Nobody knows where the next question begins: this one is hung up.
    // It may hang up before everything was sent.
    let _ = client.send(" ".repeat(100 << 10));
    let (_, end) = client.answer()?;
    let error = end["error"].as_str().unwrap_or_default();
    ensure!(error.contains("4096 bytes"), "a long line is answered by {end}");
    ensure!(!matches!(client.line(), Ok(Some(_))), "it goes on behind a line that was too long");
    let mut last = Client::connect()?;
    last.say_last(TABLES)?;
    ensure!(last.answer()?.1.get("error").is_none(), "a question without an end of line is refused");
    ensure!(last.line()?.is_none(), "it waits for a client that sends nothing more");
    agent.stop()?;
    ensure!(!Path::new(SOCKET).exists(), "{SOCKET} is left behind");
    Ok(())
}

/// What this process has just changed is last, in its order.
fn expect_sections(client: &mut Client) -> Result<()> {
    ground::touch_sentinel()?;
    let (sections, _) = client.ask(SECTIONS)?;
    let own: Vec<&Value> = sections.iter().filter(|section| section["pid"] == std::process::id()).collect();
    let [.., mount, umount] = own[..] else { bail!("not two sections of this process in {sections:?}") };
    let says = |section: &Value, syscall: &str, what: &str| {
        section["syscall"] == syscall && section["complete"] == true && section["changes"][0]["what"] == what
    };
    ensure!(says(mount, "mount", "attach") && says(umount, "umount2", "detach"), "not a mount and its end: {own:?}");
    let id = |section: &Value| section["changes"][0]["id"].as_u64();
    ensure!(id(mount).is_some() && id(mount) == id(umount), "not the same mount: {own:?}");
    Ok(())
}

/// The answer is of one piece: as many tables as it says, and all counts.
fn expect_tables(client: &mut Client) -> Result<()> {
    let (lines, end) = client.ask(TABLES)?;
    let (tables, detached): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|line| line.get("detached").is_none());
    ensure!(detached.len() == 1, "{} lines of detached mounts", detached.len());
    let number = |value: &Value| value.as_u64().with_context(|| format!("{value} in {end} is no number"));
    let states = &end["tables"];
    let counted = number(&states["exact"])? + number(&states["dirty"])? + number(&states["unread"])?;
    ensure!(counted == tables.len() as u64, "{} tables before {end}", tables.len());
    for reason in ["start", "met", "lost", "count", "attributes", "asked"] {
        number(&end["reads"][reason])?;
    }
    number(&end["sections"])?;
    number(&end["detached"])?;
    number(&end["audited"])?;
    Ok(())
}

/// Those that do not read hold up nobody, the one that is too many is told so, and the place of one that leaves is free.
fn clients_that_do_not_read_or_are_too_many() -> Result<()> {
    let agent = Agent::start("observe", &[])?;
    let mut deaf = Client::connect()?;
    expect_tables(&mut deaf)?;
    // More answers than a socket holds.
    let many = format!("{}\n", "?".repeat(1000)).repeat(2000);
    let sending = thread::spawn(move || {
        let sent = deaf.send(many);
        (deaf, sent)
    });
    let mut clients = Vec::new();
    while clients.len() < CLIENTS - 1 {
        let mut client = Client::connect()?;
        expect_tables(&mut client)?;
        clients.push(client);
    }
    let turned_away = Client::connect()?.line()?.context("hung up without a word")?;
    let error = turned_away["error"].as_str().unwrap_or_default();
    ensure!(error.contains("8 clients"), "the ninth client is told {turned_away}");
    clients.pop();
    let deadline = Instant::now() + LINE;
    while Client::connect()?.error("?").is_ok_and(|error| error.contains("8 clients")) {
        ensure!(Instant::now() < deadline, "the place of a client that left stays taken");
        thread::sleep(Duration::from_millis(20));
    }
    for client in &mut clients {
        expect_tables(client)?;
    }
    agent.stop()?;
    ensure!(sending.join().is_ok(), "the client that does not read panicked");
    Ok(())
}

/// It ends, and says which process is in its way; that one goes on. When it has ended, the next one starts.
fn a_second_agent() -> Result<()> {
    let first = Agent::start("observe", &[])?;
    let policy = first.policy.to_str().context("the trials' own paths are UTF-8")?.to_owned();
    let second = Program::start(&["agent", "--policy", &policy])?.wait()?;
    ensure!(second.status.code() == Some(1), "the second agent ended with {}: {:#?}", second.status, second.errors);
    let holder = format!("process {} holds {DIRECTORY}/agent.lock", first.program.pid().as_raw_nonzero());
    ensure!(second.errors.iter().any(|line| line.contains(&holder)), "no {holder:?} in {:#?}", second.errors);
    expect_tables(&mut Client::connect()?)?;
    first.stop()?;
    let third = Agent::start("observe", &[])?;
    expect_tables(&mut Client::connect()?)?;
    third.stop()
}

/// What a dead agent left behind is in nobody's way.
fn after_a_kill() -> Result<()> {
    let first = Agent::start("observe", &[])?;
    kill_process(first.program.pid(), Signal::KILL)?;
    let finished = first.program.wait()?;
    ensure!(finished.status.code().is_none(), "it ended with {} before it was killed", finished.status);
    ensure!(Path::new(SOCKET).exists(), "nothing is left: this shows nothing");
    ensure!(Client::connect().is_err(), "somebody answers for the dead");
    let second = Agent::start("observe", &[])?;
    ensure!(fs::metadata(SOCKET)?.mode() & 0o777 == 0o600, "the new socket has another mode");
    expect_tables(&mut Client::connect()?)?;
    second.stop()
}

/// An agent that nobody can ask still limits, and says what is missing. Its twin is every other trial.
fn where_nothing_can_be_made() -> Result<()> {
    rustix::mount::mount("tmpfs", "/run", "tmpfs", MountFlags::RDONLY, None).context("cannot hide /run")?;
    let hidden = ground::Mounted::adopt(Path::new("/run"));
    let agent = Agent::start("observe", &[])?;
    let notes: Vec<String> = agent.program.errors().into_iter().filter(|line| line.starts_with("note: ")).collect();
    let says = |word: &str| notes.iter().filter(|line| line.contains(word)).count() == 1;
    ensure!(says("nobody can ask this agent") && says(DIRECTORY), "it says {notes:#?}");
    agent.stop()?;
    hidden.unmount_with(UnmountFlags::empty())
}

/// Every metric of the docs is there from the start, and operations are counted by kind and result.
fn metrics_count_what_was_done() -> Result<()> {
    let place = ground::directory("counted")?;
    let agent = Agent::start("observe", &[])?;
    let before = Reply::scrape(METRICS)?;
    ensure!(before.status == 200, "a scrape is answered with {before:?}");
    let content_type = before.header("content-type").unwrap_or_default();
    ensure!(content_type.starts_with("text/plain; version=0.0.4"), "the content type is {content_type:?}");
    expect_every_metric(&before)?;
    for _ in 0..3 {
        ground::mount_tmpfs(&place)?;
        ground::unmount(&place, UnmountFlags::empty())?;
    }
    ensure!(ground::mount_tmpfs(&place.join("nowhere")).is_err(), "a mount at what is not there");
    let deadline = Instant::now() + LINE;
    let mut after = Reply::scrape(METRICS)?;
    while counted(&before, &after)?.iter().sum::<u64>() < 7 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
        after = Reply::scrape(METRICS)?;
    }
    let counted = counted(&before, &after)?;
    ensure!(counted == [3, 3, 1], "{counted:?} of 3 mounts, 3 unmounts and a failed mount");
    let records = |reply: &Reply| reply.value("mount_tracer_records_read_total");
    ensure!(records(&after)? > records(&before)?, "operations without records");
    ensure!(after.value("mount_tracer_operations_lost_total")? == 0, "operations were lost");
    agent.stop()
}

fn expect_every_metric(reply: &Reply) -> Result<()> {
    let docs = include_str!("../../../docs/metrics.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `mount_tracer_"));
    let names: Vec<&str> = rows.filter_map(|row| Some(row.split_once('`')?.0)).collect();
    ensure!(names.len() > 10, "the docs name {names:?}");
    for name in names {
        let series = |end| reply.body.contains(&format!("\nmount_tracer_{name}{end}"));
        // What the kernel does not count is not told.
        let counted = name != "runs_missed_total" || kernel::is_at_least(5, 12)?;
        // No pod has a name here.
        let wanted = counted && name != "volume_info" && !name.starts_with("pod_disk_");
        ensure!((series('{') || series(' ')) == wanted, "mount_tracer_{name}, wanted: {wanted}, in {}", reply.body);
    }
    Ok(())
}

/// By how much mounts, unmounts and failed mounts went up.
fn counted(before: &Reply, after: &Reply) -> Result<[u64; 3]> {
    let more = |labels: &str| -> Result<u64> {
        let series = format!("mount_tracer_operations_total{{{labels}}}");
        Ok(after.value(&series)? - before.value(&series)?)
    };
    Ok([
        more(r#"op="mount",result="ok""#)?,
        more(r#"op="umount",result="ok""#)?,
        more(r#"op="mount",result="failed""#)?,
    ])
}

/// It is ready when every table was read once, and a namespace that comes later does not make it unready.
fn it_lives_and_is_ready() -> Result<()> {
    let agent = Agent::start("observe", &[])?;
    let live = Reply::get(METRICS, "/livez")?;
    ensure!((live.status, live.body.as_str()) == (200, "ok\n"), "/livez is answered with {live:?}");
    let unread = |reply: &Reply| reply.value(r#"mount_tracer_namespaces{state="unread"}"#);
    let deadline = Instant::now() + LINE;
    loop {
        // What was asked just now is not asked again.
        thread::sleep(Duration::from_millis(250));
        let (scraped, ready) = (Reply::scrape(METRICS)?, Reply::get(METRICS, "/readyz")?);
        if ready.status == 200 {
            break;
        }
        ensure!(ready.status == 503 && unread(&scraped)? > 0, "not ready, with nothing to be read: {ready:?}");
        ensure!(Instant::now() < deadline, "it does not become ready: {ready:?}");
    }
    thread::sleep(Duration::from_millis(250));
    ensure!(unread(&Reply::scrape(METRICS)?)? == 0, "it is ready, and has not read everything");
    agent.stop()
}

/// What is refused, and that it leaves the agent as it was.
fn requests_that_are_none() -> Result<()> {
    const ADDRESS: &str = "127.0.0.1:10913";
    let agent = Agent::start_with("observe", &[], &["--metrics-address", ADDRESS])?;
    ensure!(TcpStream::connect(METRICS).is_err(), "it listens at {METRICS} too");
    let answers = || -> Result<()> {
        let reply = Reply::scrape(ADDRESS)?;
        ensure!(reply.status == 200, "a scrape is answered with {reply:?}");
        Ok(())
    };
    answers()?;
    for (request, status) in [
        (&b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"[..], 405),
        (b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics/../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"\0\xff\r\n\r\n", 400),
    ] {
        let reply = Reply::to(ADDRESS, request)?;
        ensure!(reply.status == status, "{:?} is answered with {reply:?}", String::from_utf8_lossy(request));
        answers()?;
    }
    let long = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(100 << 10));
    // The answer may be lost: it is sent while the request is still coming.
    let reply = Reply::to(ADDRESS, long.as_bytes());
    ensure!(!reply.as_ref().is_ok_and(|reply| reply.status != 431), "100 KiB of a header are answered with {reply:?}");
    answers()?;
    // More connections than it takes, which say nothing.
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(ADDRESS)).collect::<Result<_, _>>()?;
    answers()?;
    expect_tables(&mut Client::connect()?)?;
    drop(silent);
    agent.stop()
}

/// An address that was typed has to be had. Without one, limits matter more.
fn an_address_that_is_taken() -> Result<()> {
    let taken = TcpListener::bind(METRICS).with_context(|| format!("cannot listen at {METRICS}"))?;
    let agent = Agent::start("observe", &[])?;
    let noted = |errors: &[String]| errors.iter().any(|line| line.contains("no metrics") && line.contains(METRICS));
    ensure!(noted(&agent.program.errors()), "it does not say that {METRICS} is taken: {:#?}", agent.program.errors());
    let policy = agent.policy.to_str().context("the trials' own paths are UTF-8")?.to_owned();
    agent.stop()?;
    let refused = Program::start(&["agent", "--policy", &policy, "--metrics-address", METRICS])?.wait()?;
    ensure!(refused.status.code() == Some(1), "ended with {}: {:#?}", refused.status, refused.errors);
    let named = refused.errors.iter().any(|line| line.contains(METRICS) && line.contains("--metrics-address"));
    ensure!(named, "no remedy in {:#?}", refused.errors);
    drop(taken);
    let silent = Agent::start_with("observe", &[], &["--metrics-address", "none"])?;
    ensure!(TcpStream::connect(METRICS).is_err(), "it listens at {METRICS} all the same");
    ensure!(!noted(&silent.program.errors()), "it says {:#?}", silent.program.errors());
    silent.stop()
}
