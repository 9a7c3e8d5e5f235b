//! IN: follows one list, name or object by requests, one after the other, for as long as somebody listens.

use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::{Instant, sleep};

use super::{
    api::Api,
    ask::{Ask, What},
    course::{Course, End},
    error::{Fault, KubeError},
    tell::{self, Broken, Line},
};
use crate::pods::view::Update;

/// What a course tells.
#[derive(Debug)]
pub enum Told {
    /// The API server told it.
    Update(Update),
    /// It answers what was asked.
    Works(&'static str),
    /// It does not.
    Fails(KubeError),
}

/// Nobody listens any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheard;

/// Who listens.
pub trait Listen {
    /// Hears what was told.
    fn hear(&self, told: Told) -> impl Future<Output = Result<(), Unheard>> + Send;
}

/// Goes on until its course has an end or nobody listens any more.
pub async fn follow(api: &Api, mut course: Course, listener: &impl Listen) -> Result<(), Unheard> {
    loop {
        let ask = course.next(random());
        let end = match request(api, &ask, &mut course, listener).await? {
            Ok(end) => end,
            Err(error) => {
                let end = end_of(&error.fault);
                // That a version is too old, or that the cluster has no such classes, nobody has to know.
                if end != End::Expired && !(end == End::Refused(404, None) && matches!(ask.what(), What::Classes(_))) {
                    listener.hear(Told::Fails(error)).await?;
                }
                end
            }
        };
        match course.ended(&end, random()) {
            Some(wait) => sleep(wait).await,
            None => return Ok(()),
        }
    }
}

fn end_of(fault: &Fault) -> End {
    match fault {
        Fault::Refused { status: 410, .. } => End::Expired,
        Fault::Refused { status, after, .. } => End::Refused(*status, *after),
        _ => End::Failed,
    }
}

type Answer = Result<Result<End, KubeError>, Unheard>;

async fn request(api: &Api, ask: &Ask, course: &mut Course, listener: &impl Listen) -> Answer {
    match ask {
        Ask::List(what) => {
            let listed = match api.get(ask).await {
                Ok(bytes) => api.counted(ask, tell::list(what, &bytes).map_err(Fault::Garbage)),
                Err(error) => Err(error),
            };
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => return Ok(Err(error)),
            };
            api.counts.broken(listed.broken);
            listener.hear(Told::Works(what.resource())).await?;
            listener.hear(Told::Update(listed.update)).await?;
            Ok(Ok(End::Listed(listed.version)))
        }
        Ask::Get(_) => one(api, ask, listener).await,
        Ask::Watch { .. } => watch(api, ask, course, listener).await,
    }
}

async fn one(api: &Api, ask: &Ask, listener: &impl Listen) -> Answer {
    let update = match api.get(ask).await {
        Ok(bytes) => api.counted(ask, tell::one(ask.what(), &bytes).map_err(Fault::Garbage)),
        Err(KubeError { fault: Fault::Refused { status: 404, .. }, .. }) => {
            listener.hear(Told::Works(ask.what().resource())).await?;
            if let Some(none) = tell::none(ask.what()) {
                listener.hear(Told::Update(none)).await?;
            }
            return Ok(Ok(End::Refused(404, None)));
        }
        Err(error) => Err(error),
    };
    match update {
        Ok(Some(update)) => {
            listener.hear(Told::Works(ask.what().resource())).await?;
            listener.hear(Told::Update(update)).await?;
            Ok(Ok(End::Looked))
        }
        // It is another's by now, or not ours yet.
        Ok(None) => Ok(Ok(End::Failed)),
        Err(error) => Ok(Err(error)),
    }
}

async fn watch(api: &Api, ask: &Ask, course: &mut Course, listener: &impl Listen) -> Answer {
    let began = Instant::now();
    let mut watch = match api.watch(ask).await {
        Ok(watch) => watch,
        Err(error) => return Ok(Err(error)),
    };
    listener.hear(Told::Works(ask.what().resource())).await?;
    loop {
        let lines = match api.counted(ask, watch.next().await) {
            Ok(Some(lines)) => lines,
            Ok(None) => return Ok(Ok(End::Over(began.elapsed()))),
            // Connections end, and servers are started anew: it is counted, and begun again.
            Err(KubeError { fault: Fault::Client(_) | Fault::Cut, .. }) if !course.is_short(began.elapsed()) => {
                return Ok(Ok(End::Over(began.elapsed())));
            }
            Err(error) => return Ok(Err(error)),
        };
        for line in lines {
            match api.counted(ask, tell::line(ask.what(), &line).map_err(Fault::Garbage)) {
                Ok(Line::Update(update, version)) => {
                    listener.hear(Told::Update(update)).await?;
                    course.told(version);
                }
                Ok(Line::Version(version, broken)) => {
                    api.counts.broken(u64::from(broken == Broken::Yes));
                    course.told(version);
                }
                Ok(Line::Refused(refusal)) => {
                    let after =
                        refusal.details.and_then(|details| details.retry_after_seconds).map(Duration::from_secs);
                    let fault = Fault::Refused { status: refusal.code, message: refusal.message, after };
                    return Ok(api.counted(ask, Err(fault)));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }
}

/// Any number.
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without one nodes are not spread; nothing else is wrong.
    let _ = getrandom(&mut bytes, GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}
