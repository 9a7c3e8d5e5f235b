//! A server that refuses, hangs, answers garbage, or is away: what is said of it, when it is asked again, and that the rest goes on.

use std::time::{Duration, Instant};

use tracer::pods::kube::course::Pace;

use super::{
    node::{FAST, NODE, Node},
    server::{Fault, Server},
    world::{ATTRIBUTES, CLAIMS, PODS, STORAGE, VOLUMES, claim, class, pod, volume},
};

const UID: &str = "00000000-0000-4000-8000-000000000001";

/// A node with one pod and its claim.
async fn server() -> Server {
    let server = Server::start().await;
    server.change(|world| {
        world.put(PODS, pod(UID, "web-0", NODE, &["data".to_owned()]));
        world.put(CLAIMS, claim("shop", "data", "c1", "pvc-1"));
        world.put(VOLUMES, volume("pvc-1", "c1"));
        world.put(STORAGE, class("fast"));
        world.put(ATTRIBUTES, class("gold"));
    });
    server
}

fn about<'a>(lines: &'a [String], words: &[&str]) -> Vec<&'a String> {
    lines.iter().filter(|line| words.iter().all(|word| line.contains(word))).collect()
}

#[tokio::test]
async fn a_kind_that_is_forbidden_is_said_once_and_the_rest_goes_on() {
    let server = server().await;
    server.forbid(STORAGE, true);
    server.forbid(VOLUMES, true);
    let mut node = Node::start(&server, FAST);
    let claim = |node: &Node| node.view.known();
    node.until("pods, claims and one kind of classes", |node| (claim(node).claims, claim(node).classes) == (1, 1))
        .await;
    // Several looks at what is forbidden.
    node.take_for(FAST.look * 6).await;
    assert!(node.api.counts.so_far().faults[&("storageclasses.storage.k8s.io", "forbidden")] > 2);
    let said = node.complaints();
    let right =
        about(&said, &["storageclasses.storage.k8s.io", "ClusterRole have the verb list", "docs/kubernetes.md"]);
    assert_eq!(
        (right.len(), about(&said, &["verb get for persistentvolumes"]).len(), said.len()),
        (1, 1, 2),
        "{said:#?}"
    );
    server.forbid(STORAGE, false);
    server.forbid(VOLUMES, false);
    node.until_equal(&server).await;
    node.until("the classes", |node| claim(node).classes == 2).await;
}

#[tokio::test]
async fn a_kind_that_the_cluster_lacks_is_normal() {
    let server = server().await;
    server.lacks(ATTRIBUTES);
    let mut node = Node::start(&server, Pace { look: Duration::from_mins(10), ..FAST });
    node.until_equal(&server).await;
    node.take_for(Duration::from_millis(500)).await;
    assert_eq!(server.seen().requests["list volumeattributesclasses"], 1, "it is asked for seldom");
    assert_eq!(node.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_busy_server_is_left_alone_for_as_long_as_it_says() {
    let server = server().await;
    server.misbehave([Fault::Throttled(1); 3]);
    let mut node = Node::start(&server, FAST);
    node.until_equal(&server).await;
    let seen = server.seen();
    let times: Vec<Instant> =
        seen.times.iter().filter(|(_, name)| name == "list pods by node").map(|(at, _)| *at).collect();
    assert!(times.len() == 2 && times[1] - times[0] >= Duration::from_secs(1), "{:?}", seen.times);
    assert_eq!(about(&node.complaints(), &["it says 429"]).len(), 3, "one for each kind: {:#?}", node.complaints());
}

#[tokio::test]
async fn a_token_that_ends_is_read_anew() {
    let server = server().await;
    server.wants_token("first");
    let mut node = Node::start(&server, FAST);
    node.until_equal(&server).await;
    server.wants_token("second");
    server.change(|world| world.put(PODS, pod(UID, "web-0", NODE, &[])));
    // A watch that has begun goes on until it ends; then the server does not know us.
    node.until("the server says no", |node| !about(&node.complaints(), &["it says 401"]).is_empty()).await;
    node.has_token("second");
    server.change(|world| world.put(PODS, pod(UID, "web-0", NODE, &["data".to_owned()])));
    node.until_equal(&server).await;
}

#[tokio::test]
async fn what_is_known_stays_while_the_server_is_away() {
    let mut server = server().await;
    let mut node = Node::start(&server, FAST);
    node.until_equal(&server).await;
    let known = node.view.clone();
    server.go_away().await;
    node.until("it is stale", |node| !about(&node.complaints(), &["stale from now on"]).is_empty()).await;
    node.take_for(Duration::from_secs(1)).await;
    assert_eq!(node.view, known);
    // Meanwhile the cluster goes on, and forgets.
    server.change(|world| {
        world.remove(PODS, "shop", "web-0");
        world.put(PODS, pod("00000000-0000-4000-8000-000000000002", "web-0", NODE, &["other".to_owned()]));
        world.put(CLAIMS, claim("shop", "other", "c2", "pvc-2"));
        world.put(VOLUMES, volume("pvc-2", "c2"));
        world.forget();
    });
    server.come_back().await;
    node.until_equal(&server).await;
    let said = node.complaints();
    assert_eq!(about(&said, &["tells of pods again, after"]).len(), 1, "{said:#?}");
    assert_eq!(about(&said, &["stale from now on"]).len(), 1, "{said:#?}");
    assert!(said.len() <= 8, "a line for each kind: {said:#?}");
}

#[tokio::test]
async fn a_server_that_hangs_or_talks_nonsense_is_asked_again() {
    for fault in [Fault::Hangs, Fault::Garbage, Fault::Half, Fault::Cut, Fault::Broken] {
        let server = server().await;
        server.misbehave([fault; 6]);
        let mut node = Node::start(&server, FAST);
        node.until_equal(&server).await;
        let said = node.complaints();
        let of_pods = about(&said, &["cannot list pods at the Kubernetes API server"]);
        assert_eq!(of_pods.len(), 1, "{fault:?}: {said:#?}");
        assert!(of_pods[0].ends_with(|last: char| !last.is_whitespace()) && !of_pods[0].contains('\n'));
    }
}

#[tokio::test]
async fn nobody_there_at_the_start_is_said_once() {
    let mut server = server().await;
    server.go_away().await;
    let mut node = Node::start(&server, FAST);
    node.take_for(Duration::from_millis(600)).await;
    let said = node.complaints();
    assert_eq!(about(&said, &["cannot list pods"]).len(), 1, "{said:#?}");
    server.come_back().await;
    node.until_equal(&server).await;
}
