//! The same server by TLS and HTTP/2, as API servers are: whom the client trusts, and that watches share connections. The certificates
//! are for 127.0.0.1, were made for this alone, and end in a hundred years.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use tracer::pods::kube::course::Pace;

use super::{
    node::{FAST, NODE, Node},
    server::{Server, Shared},
    world::{CLAIMS, PODS, VOLUMES, claim, pod, volume},
};

const CLAIMS_OF_POD: usize = 20;

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/tls").join(name).display().to_string()
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Serves by HTTP/2, and counts connections.
async fn accept(listener: TcpListener, shared: Shared, connections: Arc<AtomicUsize>) {
    let (mut open, acceptor) = (JoinSet::new(), acceptor());
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (shared, acceptor, connections) = (shared.clone(), acceptor.clone(), Arc::clone(&connections));
        open.spawn(async move {
            // Who does not trust us goes away.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            connections.fetch_add(1, Ordering::Relaxed);
            let service = service_fn(move |request| {
                let shared = shared.clone();
                async move { shared.answer(&request).await }
            });
            let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn server() -> (Server, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let server = Server::start_with(move |listener, shared| accept(listener, shared, counter)).await;
    server.change(|world| {
        let names: Vec<String> = (0..CLAIMS_OF_POD).map(|at| format!("data-{at}")).collect();
        for name in &names {
            world.put(CLAIMS, claim("shop", name, &format!("uid-{name}"), &format!("pvc-{name}")));
            world.put(VOLUMES, volume(&format!("pvc-{name}"), &format!("uid-{name}")));
        }
        world.put(PODS, pod("00000000-0000-4000-8000-000000000001", "web-0", NODE, &names));
    });
    (server, connections)
}

fn by_tls(server: &Server, authority: &str) -> String {
    format!("server: 'https://{}', certificate-authority: '{}'", server.address, file(authority))
}

#[tokio::test]
async fn watches_share_connections() {
    let (server, connections) = server().await;
    server.wants_token("first");
    let pace = Pace { answer: Duration::from_secs(10), ..FAST };
    let mut node = Node::start_at(&by_tls(&server, "ca.pem"), pace);
    node.until_equal(&server).await;
    assert_eq!(node.complaints(), Vec::<String>::new());
    assert_eq!(server.seen().requests["watch persistentvolumeclaims by name"], CLAIMS_OF_POD as u64);
    // The first requests, for pods and both kinds of classes, may come before one of them knows that the server speaks HTTP/2.
    let made = connections.load(Ordering::Relaxed);
    println!("connections: made={made} requests={}", server.seen().total());
    assert!((1..=3).contains(&made), "{made} connections: {:?}", server.seen().requests);
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_believed() {
    let (server, connections) = server().await;
    let mut node = Node::start_at(&by_tls(&server, "other.pem"), FAST);
    node.take_for(Duration::from_millis(500)).await;
    assert_eq!((node.view.known().pods, server.seen().total()), (0, 0));
    assert_eq!(connections.load(Ordering::Relaxed), 0);
    let said = node.complaints();
    let of_pods: Vec<&String> = said.iter().filter(|line| line.contains("cannot list pods")).collect();
    assert!(of_pods.len() == 1 && of_pods[0].contains("certificate"), "{said:#?}");
}
