//! Asks container runtimes what their containers are called, in a thread of its own: a runtime that is slow, absent or broken holds up nobody
//! else, and is asked again later.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    thread,
    time::Duration,
};

use tokio::{
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep_until},
};

use super::AgentError;
use crate::{
    listed::Task,
    output::say::{chain, note},
    pods::{
        cri::{self, Cri, CriError},
        named::Named,
        runtimes::ContainerId,
    },
};

/// How long to wait before each further question for a container that the runtime does not know: some tell of one only when it is started. All
/// together as long as an operation waits for a name.
const AGAIN: [Duration; 8] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(1_500),
    Duration::from_secs(2),
    Duration::from_millis(2_500),
];
/// From so many containers on all are listed: that is two calls, where each alone is as many.
const LISTED: usize = 3;
/// The node's root, which a container with the node's processes sees, too.
const NODE_ROOT: &str = "/proc/1/root";
/// How long a runtime that does not answer is left alone.
const LEFT_ALONE: Duration = Duration::from_secs(10);

/// Which runtime is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RuntimeSocket {
    /// Those at the well-known places.
    #[default]
    WellKnown,
    /// The one with this socket.
    At(PathBuf),
    /// None.
    Off,
}

impl FromStr for RuntimeSocket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Off),
            path if Path::new(path).is_absolute() => Ok(Self::At(path.into())),
            _ => Err(format!("write the absolute path of a socket, as {}, or none", cri::SOCKETS[0])),
        }
    }
}

/// What a runtime says of a container; `None` where it does not know it, or cannot be asked.
pub(super) type Answer = (ContainerId, Option<Box<Named>>);

/// The thread that asks, from the other side. It ends when this does.
pub(super) struct Namer {
    ask: UnboundedSender<ContainerId>,
    said: UnboundedReceiver<Answer>,
}

impl Namer {
    /// Begins to wait for questions.
    pub(super) fn start(socket: RuntimeSocket) -> Result<Self, AgentError> {
        let ((ask, asked), (say, said)) = (unbounded_channel(), unbounded_channel());
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
        let serve = move || runtime.block_on(serve(Runtimes::new(socket), asked, say));
        thread::Builder::new().name("names".to_owned()).spawn(serve).map_err(AgentError::NamesThread)?;
        Ok(Self { ask, said })
    }

    /// Asks for a container.
    pub(super) fn ask(&self, id: ContainerId) {
        // The thread ends only when this does.
        let _ = self.ask.send(id);
    }

    /// The next answer; `None` when none will come any more.
    ///
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        self.said.recv().await
    }
}

/// Names the containers of these threads.
pub fn name_all<'a>(tasks: impl Iterator<Item = &'a mut Task>, socket: RuntimeSocket) {
    let tasks: Vec<&mut Task> = tasks.filter(|task| task.owner.container_in_pod().is_some()).collect();
    let id = |task: &Task| Some(task.owner.container_in_pod()?.id.clone());
    let ids: Vec<ContainerId> = tasks.iter().filter_map(|task| id(task)).collect();
    if ids.is_empty() {
        return;
    }
    // Without one there are no names; the ids are there.
    let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
    let names = runtime.block_on(Runtimes::new(socket).names(&ids)).unwrap_or_default();
    for task in tasks {
        task.named = names.iter().find(|named| named.is_of(&task.owner)).cloned();
    }
}

/// A question that has no answer yet.
struct Open {
    id: ContainerId,
    asked: usize,
    at: Instant,
}

async fn serve(mut runtimes: Runtimes, mut asked: UnboundedReceiver<ContainerId>, say: UnboundedSender<Answer>) {
    let mut open: Vec<Open> = Vec::new();
    loop {
        let next = open.iter().map(|one| one.at).min();
        let new = tokio::select! {
            id = asked.recv() => match id {
                Some(id) => Some(id),
                None => return,
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => None,
        };
        let mut new: Vec<ContainerId> = new.into_iter().collect();
        while let Ok(id) = asked.try_recv() {
            new.push(id);
        }
        let now = Instant::now();
        open.extend(new.into_iter().map(|id| Open { id, asked: 0, at: now }));
        let due: Vec<Open> = open.extract_if(.., |one| one.at <= now).collect();
        let known = runtimes.names(&due.iter().map(|one| one.id.clone()).collect::<Vec<_>>()).await;
        for mut one in due {
            let named = known.iter().flatten().find(|named| named.id == one.id);
            match (named, AGAIN.get(one.asked)) {
                (None, Some(wait)) if known.is_some() => {
                    (one.asked, one.at) = (one.asked + 1, Instant::now() + *wait);
                    open.push(one);
                }
                // Who would hear it has gone away when it cannot be sent.
                (named, _) => drop(say.send((one.id, named.cloned().map(Box::new)))),
            }
        }
    }
}

/// The runtimes of the node.
struct Runtimes {
    socket: RuntimeSocket,
    found: Vec<Cri>,
    /// When those are looked for again of which none answers.
    again_at: Option<Instant>,
    /// What was said of them since one has answered last.
    complaints: HashSet<String>,
}

impl Runtimes {
    fn new(socket: RuntimeSocket) -> Self {
        Self { socket, found: Vec::new(), again_at: None, complaints: HashSet::new() }
    }

    /// Those of these containers that a runtime knows; `None` when none can be asked.
    async fn names(&mut self, ids: &[ContainerId]) -> Option<Vec<Named>> {
        if self.again_at.is_some_and(|at| Instant::now() < at) {
            return None;
        }
        if self.found.is_empty() {
            self.look();
        }
        let (mut known, mut answers) = (Vec::new(), false);
        for mut runtime in std::mem::take(&mut self.found) {
            match of_one(&mut runtime, ids).await {
                Ok(named) => {
                    answers = true;
                    known.extend(named);
                    self.found.push(runtime);
                }
                Err(error) => self.complain(&error),
            }
        }
        self.again_at = (!answers).then(|| Instant::now() + LEFT_ALONE);
        if answers {
            self.complaints.clear();
        }
        answers.then_some(known)
    }

    fn look(&mut self) {
        self.found = match &self.socket {
            RuntimeSocket::At(socket) => vec![Cri::new(socket.clone())],
            RuntimeSocket::Off => Vec::new(),
            RuntimeSocket::WellKnown => {
                // Who may not look there is not in a container, or has no right to ask a runtime.
                let root = Path::new(NODE_ROOT);
                let sockets = cri::look(if fs::metadata(root).is_ok() { root } else { Path::new("/") });
                sockets.faults.iter().for_each(|fault| self.complain(fault));
                sockets.found.into_iter().map(Cri::new).collect()
            }
        };
    }

    /// Once for each fault of each socket.
    fn complain(&mut self, error: &CriError) {
        let said = format!("{} {}", error.socket.display(), error.fault.name());
        if self.complaints.insert(said) {
            note(format_args!("note: containers are shown by their ids: {}", chain(error)));
        }
    }
}

async fn of_one(runtime: &mut Cri, ids: &[ContainerId]) -> Result<Vec<Named>, CriError> {
    if ids.len() >= LISTED {
        let all = runtime.list().await?.named;
        return Ok(all.into_iter().filter(|named| ids.contains(&named.id)).collect());
    }
    let mut known = Vec::new();
    for id in ids {
        known.extend(runtime.find(id).await?);
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, path::PathBuf};

    use super::*;

    fn id(digit: char) -> ContainerId {
        ContainerId::parse(&digit.to_string().repeat(64)).unwrap()
    }

    #[test]
    fn a_socket_is_a_path() {
        assert_eq!("none".parse(), Ok(RuntimeSocket::Off));
        assert_eq!("/run/a.sock".parse(), Ok(RuntimeSocket::At(PathBuf::from("/run/a.sock"))));
        for wrong in ["", "a.sock", "unix:///run/a.sock"] {
            let error = wrong.parse::<RuntimeSocket>().unwrap_err();
            assert!(error.contains("/run/containerd/containerd.sock, or none"), "{error}");
        }
    }

    #[tokio::test]
    async fn without_a_runtime_there_is_an_answer_at_once() {
        let mut namer = Namer::start(RuntimeSocket::Off).unwrap();
        for digit in ['a', 'b'] {
            namer.ask(id(digit));
            assert_eq!(namer.next().await, Some((id(digit), None)));
        }
    }

    #[tokio::test]
    async fn what_is_no_runtime_is_said_once_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let mut runtimes = Runtimes::new(RuntimeSocket::At(path.clone()));
        assert_eq!(runtimes.names(&[id('a')]).await, None);
        assert_eq!(runtimes.complaints.len(), 1);
        // It is there by now, but is not asked yet.
        let _listener = UnixListener::bind(&path).unwrap();
        let before = Instant::now();
        assert_eq!(runtimes.names(&[id('a')]).await, None);
        assert!(before.elapsed() < cri::DEADLINE && runtimes.complaints.len() == 1);
    }
}
