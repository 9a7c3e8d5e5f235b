//! How a running agent is asked, and that one agent runs at a time.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::Trial;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::asking::{AUDIT, Client, DIRECTORY, SOCKET, TABLES};
use super::ground;
use super::node::Agent;
use super::program::{LINE, Program};
use super::trial::trial;

/// Clients that the agent answers at once.
const CLIENTS: usize = 8;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("doors::questions_and_what_is_none", questions_and_what_is_none),
        trial("doors::clients_that_do_not_read_or_are_too_many", clients_that_do_not_read_or_are_too_many),
        trial("doors::a_second_agent", a_second_agent),
        trial("doors::after_a_kill", after_a_kill),
        trial("doors::where_nothing_can_be_made", where_nothing_can_be_made),
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
    let (tables, end) = client.ask(AUDIT)?;
    ensure!(tables.is_empty() && end["differences"] == Value::Array(Vec::new()), "an audit found {end} in {tables:?}");
    // Nobody knows where the next question begins: this one is hung up.
    let error = client.error(" ".repeat(100 << 10))?;
    ensure!(error.contains("4096 bytes"), "a long line is answered by {error:?}");
    ensure!(!matches!(client.line(), Ok(Some(_))), "it goes on behind a line that was too long");
    let mut last = Client::connect()?;
    last.say_last(TABLES)?;
    ensure!(last.answer()?.1.get("error").is_none(), "a question without an end of line is refused");
    ensure!(last.line()?.is_none(), "it waits for a client that sends nothing more");
    agent.stop()?;
    ensure!(!Path::new(SOCKET).exists(), "{SOCKET} is left behind");
    Ok(())
}

/// The answer is of one piece: as many tables as it says, and all counts.
fn expect_tables(client: &mut Client) -> Result<()> {
    let (tables, end) = client.ask(TABLES)?;
    let number = |value: &Value| value.as_u64().with_context(|| format!("{value} in {end} is no number"));
    let states = &end["tables"];
    let counted = number(&states["exact"])? + number(&states["dirty"])? + number(&states["unread"])?;
    ensure!(counted == tables.len() as u64, "{} tables before {end}", tables.len());
    for reason in ["start", "met", "lost", "count", "attributes", "asked"] {
        number(&end["reads"][reason])?;
    }
    number(&end["sections"])?;
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
