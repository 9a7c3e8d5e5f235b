//! What a pod's start costs the API server, and that nothing is read that no pod of the node uses.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use tracer::pods::kube::course::Pace;

use super::{
    node::{FAST, NODE, Node},
    server::{Seen, Server},
    world::{ATTRIBUTES, CLAIMS, PODS, STORAGE, VOLUMES, claim, class, pod, volume},
};

/// Claims and volumes of nobody here.
const UNRELATED: usize = 10_000;
/// Pods of other nodes.
const ELSEWHERE: usize = 100;

/// Nothing fails here, however busy the machine is.
const CALM: Pace = Pace { answer: Duration::from_secs(10), ..FAST };

/// A cluster of which little is this node's.
async fn cluster() -> Server {
    let server = Server::start().await;
    server.change(|world| {
        for number in 0..UNRELATED {
            let namespace = if number % 2 == 0 { "shop" } else { "other" };
            world.put(
                CLAIMS,
                claim(namespace, &format!("unrelated-{number}"), &format!("u{number}"), &format!("pv{number}")),
            );
            world.put(VOLUMES, volume(&format!("pv{number}"), &format!("u{number}")));
        }
        for number in 0..ELSEWHERE {
            let claims = [format!("unrelated-{number}")];
            world.put(PODS, pod(&uid(900 + number), &format!("elsewhere-{number}"), "worker-8", &claims));
        }
        world.put(STORAGE, class("fast"));
        world.put(ATTRIBUTES, class("gold"));
    });
    server
}

fn uid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A pod of this node with so many claims; what of it may be read.
fn start_pod(server: &Server, number: usize, claims: usize) -> BTreeSet<String> {
    let names: Vec<String> = (0..claims).map(|claim| format!("data-{number}-{claim}")).collect();
    let mut own = BTreeSet::from([format!("pods/shop/web-{number}")]);
    server.change(|world| {
        for name in &names {
            let bound = format!("pvc-{name}");
            world.put(CLAIMS, claim("shop", name, &format!("uid-{name}"), &bound));
            world.put(VOLUMES, volume(&bound, &format!("uid-{name}")));
            own.insert(format!("{CLAIMS}/shop/{name}"));
            own.insert(format!("{VOLUMES}//{bound}"));
        }
        world.put(PODS, pod(&uid(number), &format!("web-{number}"), NODE, &names));
    });
    own
}

/// Nothing of the cluster was sent but this.
fn only(seen: &Seen, own: &BTreeSet<String>) -> Result<(), String> {
    let strange: Vec<&String> = seen.objects.difference(own).take(3).collect();
    if strange.is_empty() { Ok(()) } else { Err(format!("sent for nothing: {strange:?} …")) }
}

fn classes() -> BTreeSet<String> {
    [format!("{STORAGE}//fast"), format!("{ATTRIBUTES}//gold")].into()
}

#[tokio::test]
async fn a_pods_start_costs_little_and_reads_nothing_else() {
    let server = cluster().await;
    let mut own = classes();
    own.extend(start_pod(&server, 0, 1));
    let mut node = Node::start(&server, Pace { watch: Duration::from_mins(5), ..CALM });
    node.until_equal(&server).await;
    let seen = server.seen();
    println!("agent-start: requests={} bytes={} claims=1 {:?}", seen.total(), seen.bytes, seen.requests);
    only(&seen, &own).unwrap();
    for (number, claims) in [(1, 1), (2, 4), (3, 20)] {
        let (count, bytes) = cost_of_start(&server, &mut node, number, claims, &mut own).await;
        println!("pod-start: requests={count} bytes={bytes} claims={claims}");
        assert!(count <= 3 + 2 * claims as u64, "{count} requests for {claims} claims: {:?}", server.seen().requests);
    }
    assert_eq!(node.complaints(), Vec::<String>::new());
}

/// Requests and bytes until all of a new pod is known.
async fn cost_of_start(
    server: &Server,
    node: &mut Node,
    number: usize,
    claims: usize,
    own: &mut BTreeSet<String>,
) -> (u64, u64) {
    server.forget_seen();
    own.extend(start_pod(server, number, claims));
    node.until_equal(server).await;
    let seen = server.seen();
    only(&seen, own).unwrap();
    (seen.total(), seen.bytes)
}

#[tokio::test]
async fn a_client_that_lists_all_claims_is_caught() {
    let server = cluster().await;
    let mut own = classes();
    own.extend(start_pod(&server, 0, 1));
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let all = format!("http://{}/api/v1/{CLAIMS}?resourceVersion=0", server.address);
    assert!(client.get(all.parse().unwrap()).await.unwrap().status().is_success());
    let caught = only(&server.seen(), &own).unwrap_err();
    assert!(caught.contains("unrelated-"), "{caught}");
}

#[tokio::test]
async fn a_gone_pod_leaves_no_watch_and_no_memory() {
    let server = cluster().await;
    start_pod(&server, 0, 1);
    let mut node = Node::start(&server, CALM);
    node.until_equal(&server).await;
    for number in 1..4 {
        start_pod(&server, number, 3);
    }
    node.until_equal(&server).await;
    assert_eq!((node.view.known().pods, node.view.known().claims, node.view.known().volumes), (4, 10, 10));
    for number in 0..4 {
        server.change(|world| world.remove(PODS, "shop", &format!("web-{number}")));
    }
    node.until("all is forgotten", |node| node.view.known().pods == 0).await;
    assert_eq!((node.view.known().claims, node.view.known().volumes), (0, 0));
    // Longer than a watch lasts: whoever still had one would begin it again.
    server.forget_seen();
    node.take_for(FAST.watch * 2).await;
    let requests = server.seen().requests;
    assert!(requests.keys().all(|request| !request.contains(CLAIMS)), "{requests:?}");
    assert!(requests.keys().any(|request| request.contains(PODS)), "it goes on: {requests:?}");
}

#[tokio::test]
async fn no_more_than_64_claims_are_watched() {
    let server = cluster().await;
    let mut node = Node::start(&server, CALM);
    start_pod(&server, 0, 70);
    node.until_equal(&server).await;
    let seen = server.seen();
    assert_eq!(seen.requests["watch persistentvolumeclaims by name"], 64, "{:?}", seen.requests);
    assert!(seen.requests["get persistentvolumeclaims by name"] >= 6);
    // What is only looked at is seen too, later.
    server.change(|world| {
        for at in 0..70 {
            let name = format!("data-0-{at}");
            world.put(CLAIMS, claim("shop", &name, &format!("anew-{name}"), "none"));
        }
    });
    node.until_equal(&server).await;
}
