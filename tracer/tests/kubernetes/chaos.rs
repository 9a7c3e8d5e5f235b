//! Random changes under random faults, and the view equals the server's state afterwards.

use std::time::Duration;

use proptest::{prelude::*, test_runner::Config};
use tokio::runtime;

use super::{
    node::{FAST, NODE, Node},
    server::{Fault, Server},
    world::{CLAIMS, PODS, VOLUMES, World, claim, pod, volume},
};

/// What happens in the cluster.
#[derive(Debug, Clone)]
enum Event {
    /// A pod with this number of a name, and claims by their numbers; its uid is new if it was not there.
    Pod(usize, Vec<usize>),
    PodGone(usize),
    /// A claim is made (anew) and bound to a volume of its own.
    Claim(usize),
    ClaimGone(usize),
    /// A claim is told of again, with other annotations.
    Touch(usize),
    /// Versions are forgotten.
    Forget,
    /// The server misbehaves with the next requests.
    Misbehave(Vec<Fault>),
    /// All connections end.
    Restart,
    /// Some time goes by.
    Pause(u64),
}

fn any_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Throttled(0)),
        Just(Fault::Broken),
        Just(Fault::Hangs),
        Just(Fault::Garbage),
        Just(Fault::Half),
        Just(Fault::Cut),
        Just(Fault::Forgets),
    ]
}

fn any_event() -> impl Strategy<Value = Event> {
    let claims = prop::collection::vec(0..5_usize, 0..3);
    prop_oneof![
        4 => (0..4_usize, claims).prop_map(|(name, claims)| Event::Pod(name, claims)),
        2 => (0..4_usize).prop_map(Event::PodGone),
        4 => (0..5_usize).prop_map(Event::Claim),
        2 => (0..5_usize).prop_map(Event::ClaimGone),
        1 => (0..5_usize).prop_map(Event::Touch),
        1 => Just(Event::Forget),
        3 => prop::collection::vec(any_fault(), 1..6).prop_map(Event::Misbehave),
        1 => Just(Event::Restart),
        3 => (0..60_u64).prop_map(Event::Pause),
    ]
}

fn happen(world: &mut World, event: &Event, number: usize) {
    match event {
        Event::Pod(name, claims) => {
            let name = format!("web-{name}");
            let known = world.get(PODS, "shop", &name).map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned());
            let uid = known.unwrap_or_else(|| format!("00000000-0000-4000-8000-{number:012}"));
            let claims: Vec<String> = claims.iter().map(|claim| format!("data-{claim}")).collect();
            world.put(PODS, pod(&uid, &name, NODE, &claims));
        }
        Event::PodGone(name) => world.remove(PODS, "shop", &format!("web-{name}")),
        Event::Claim(name) => {
            let (name, uid, bound) = (format!("data-{name}"), format!("c{number}"), format!("pvc-{number}"));
            world.remove(CLAIMS, "shop", &name);
            world.put(VOLUMES, volume(&bound, &uid));
            world.put(CLAIMS, claim("shop", &name, &uid, &bound));
        }
        Event::ClaimGone(name) => world.remove(CLAIMS, "shop", &format!("data-{name}")),
        Event::Touch(name) => {
            if let Some(mut claim) = world.get(CLAIMS, "shop", &format!("data-{name}")).cloned() {
                claim["metadata"]["annotations"]["mount-tracer.io/read-bps"] = number.to_string().into();
                world.put(CLAIMS, claim);
            }
        }
        Event::Forget => world.forget(),
        Event::Misbehave(_) | Event::Restart | Event::Pause(_) => {}
    }
}

async fn goes_through(events: Vec<Event>) {
    let mut server = Server::start().await;
    let mut node = Node::start(&server, FAST);
    for (number, event) in events.iter().enumerate() {
        server.change(|world| happen(world, event, number));
        match event {
            Event::Misbehave(faults) => server.misbehave(faults.iter().copied()),
            Event::Pause(milliseconds) => node.take_for(Duration::from_millis(*milliseconds)).await,
            Event::Restart => {
                server.go_away().await;
                server.come_back().await;
            }
            _ => {}
        }
    }
    server.behave();
    node.until_equal(&server).await;
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, ..Config::default() })]
    #[test]
    fn the_view_is_the_servers_state_after_any_fault(events in prop::collection::vec(any_event(), 1..40)) {
        runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(goes_through(events));
    }
}
