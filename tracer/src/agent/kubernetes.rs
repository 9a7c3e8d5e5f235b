//! Asks the Kubernetes API server about the pods of this node, with a task for all that is followed: what hangs or fails holds up nothing else.

use std::{collections::HashMap, sync::Arc, thread, time::Duration};

use tokio::{
    runtime,
    sync::mpsc::{Receiver, Sender, channel},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep},
};

use super::{AgentError, Feed};
use crate::{
    output::say::{chain, note},
    pods::{
        kube::{
            KubeError,
            api::{Api, Place},
            ask::What,
            course::{Course, How, Pace, fraction},
            follow::{Listen, Told, Unheard, follow, random},
            plan::{Plan, Step},
        },
        objects::{ClaimKey, ClassKind},
        view::Update,
    },
};

/// Answers that wait to be taken; whoever asks waits while there are so many.
const WAITING: usize = 64;
/// The same complaint is made again only after this time, and only if all was well in between.
const QUIET: Duration = Duration::from_mins(10);

/// Asks about a node's pods, in a thread of its own.
pub fn feed(node: String, place: Place) -> Result<Feed, AgentError> {
    let waits = Pace::default();
    let api = Arc::new(Api::new(place, waits.answer));
    let counts = Arc::clone(&api.counts);
    let (send, updates) = channel(WAITING);
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::Runtime)?;
    let follow = move || runtime.block_on(Follower::new(api, node.into(), waits, note).run(send));
    thread::Builder::new().name("kubernetes".to_owned()).spawn(follow).map_err(AgentError::KubernetesThread)?;
    Ok(Feed { updates, counted: Box::new(move || counts.so_far()) })
}

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Followed {
    Pods,
    Classes(ClassKind),
    Claim(ClaimKey),
    Volume(Box<str>),
}

/// What a task says, with its number: a task that was ended may have said something that nobody has taken yet.
type Said = (u64, Told);

/// Follows what a node's pods use.
pub struct Follower<C> {
    api: Arc<Api>,
    node: Box<str>,
    pace: Pace,
    complain: C,
    plan: Plan,
    tasks: JoinSet<()>,
    running: HashMap<Followed, (u64, AbortHandle)>,
    begun: u64,
    /// By resource and fault: when it was said last, and whether it has been well since.
    complaints: HashMap<(&'static str, &'static str), (Instant, bool)>,
    /// Since when the server has not told of pods.
    stale: Option<Instant>,
    say: Sender<Said>,
    said: Receiver<Said>,
}

struct Speaker(u64, Sender<Said>);

impl Listen for Speaker {
    async fn hear(&self, told: Told) -> Result<(), Unheard> {
        self.1.send((self.0, told)).await.map_err(|_| Unheard)
    }
}

impl<C: FnMut(String)> Follower<C> {
    /// Of the node with this name. What goes wrong is told in a line each.
    pub fn new(api: Arc<Api>, node: Box<str>, pace: Pace, complain: C) -> Self {
        let (say, said) = channel(WAITING);
        Self {
            api,
            node,
            pace,
            complain,
            plan: Plan::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            begun: 0,
            complaints: HashMap::new(),
            stale: None,
            say,
            said,
        }
    }

    /// Goes on until nobody listens any more.
    pub async fn run(mut self, updates: Sender<Update>) {
        sleep(self.pace.start.mul_f64(fraction(random()))).await;
        self.begin(Followed::Pods, What::Pods { node: self.node.clone() }, How::List);
        for kind in [ClassKind::Storage, ClassKind::Attributes] {
            self.begin(Followed::Classes(kind), What::Classes(kind), How::List);
        }
        loop {
            let said = tokio::select! {
                said = self.said.recv() => said,
                () = updates.closed() => None,
            };
            while self.tasks.try_join_next().is_some() {}
            match said {
                Some((number, told)) if self.running.values().any(|(running, _)| *running == number) => match told {
                    Told::Update(update) => {
                        let steps = self.plan.take(&update);
                        if updates.send(update).await.is_err() {
                            return;
                        }
                        for step in steps {
                            self.carry_out(step);
                        }
                    }
                    Told::Works(resource) => self.works(resource),
                    Told::Fails(error) => self.fails(&error),
                },
                Some(_) => {}
                None => return,
            }
        }
    }

    fn carry_out(&mut self, step: Step) {
        match step {
            Step::Watch(key) => self.begin(Followed::Claim(key.clone()), What::Claim(key), How::Watch),
            Step::Look(key) => self.begin(Followed::Claim(key.clone()), What::Claim(key), How::Look),
            Step::Fetch(name, claim_uid) => {
                self.begin(Followed::Volume(name.clone()), What::Volume { name, claim_uid }, How::Once);
            }
            Step::Leave(key) => self.end(&Followed::Claim(key)),
            Step::Drop(name) => self.end(&Followed::Volume(name)),
        }
    }

    /// What was followed before under the same name is not followed any more.
    fn begin(&mut self, followed: Followed, what: What, how: How) {
        self.end(&followed);
        self.begun += 1;
        let (api, speaker) = (Arc::clone(&self.api), Speaker(self.begun, self.say.clone()));
        let course = Course::new(what, how, self.pace);
        let task = self.tasks.spawn(async move {
            // Who does not listen any more has ended all of this.
            let _ = follow(&api, course, &speaker).await;
        });
        self.running.insert(followed, (self.begun, task));
    }

    fn end(&mut self, followed: &Followed) {
        if let Some((_, task)) = self.running.remove(followed) {
            task.abort();
        }
    }

    fn fails(&mut self, error: &KubeError) {
        let is_news = |(said, well): &(Instant, bool)| *well && said.elapsed() >= QUIET;
        let key = (error.resource, error.fault.name());
        if self.complaints.get(&key).is_none_or(is_news) {
            self.complaints.insert(key, (Instant::now(), false));
            (self.complain)(format!("note: {}", chain(error)));
        }
        if error.resource == "pods" && self.stale.is_none() {
            self.stale = Some(Instant::now());
            (self.complain)("note: what is known of pods stays as it is, and is stale from now on".to_owned());
        }
    }

    fn works(&mut self, resource: &'static str) {
        self.complaints.iter_mut().filter(|((of, _), _)| *of == resource).for_each(|(_, (_, well))| *well = true);
        if resource == "pods"
            && let Some(since) = self.stale.take()
        {
            let seconds = since.elapsed().as_secs();
            (self.complain)(format!("note: the Kubernetes API server tells of pods again, after {seconds} s"));
        }
    }
}
