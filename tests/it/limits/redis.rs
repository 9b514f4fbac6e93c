//! Counters in a real Redis: exact over several nodes, and never open while it is away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use vestibule::clock::Clock;
use vestibule::domain::limits::{RateLimits, Rates};
use vestibule::limits::redis::{RedisLimits, RedisOptions, RedisUrl, WhenAway};
use vestibule::limits::{Limiter, Verdict};

use super::server::Server;
use super::{Caller, NONE, left, limits, ten_thousand_at_once, workflow};
use crate::gateway::PATIENCE;
use crate::harness::{env, unique};

/// A node's limiter, with a connection that is kept.
struct Node {
    limiter: Arc<Limiter>,
    stop: CancellationToken,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn options(prefix: &str) -> RedisOptions {
    RedisOptions {
        when_away: WhenAway::Deny,
        deadline: Duration::from_secs(20),
        max_in_flight: 20_000,
        prefix: prefix.to_owned(),
    }
}

async fn node(url: &str, options: RedisOptions) -> Node {
    let url: RedisUrl = url.parse().unwrap();
    let limiter = Arc::new(Limiter::Redis(Box::new(RedisLimits::new(&url, options, Clock::system()).unwrap())));
    limiter.probe().await.unwrap().unwrap();
    let stop = CancellationToken::new();
    let (kept, stopped) = (limiter.clone(), stop.clone());
    tokio::spawn(async move { kept.keep_connected(&stopped).await });
    Node { limiter, stop }
}

/// Nodes that share the Redis of `localstack/up`, with keys of their own.
async fn nodes(count: usize) -> Vec<Node> {
    let (url, prefix) = (env("VESTIBULE_TEST_REDIS_URL"), unique("limits"));
    futures::future::join_all((0..count).map(|_| node(&url, options(&prefix)))).await
}

fn limiters(nodes: &[Node]) -> Vec<Arc<Limiter>> {
    nodes.iter().map(|node| node.limiter.clone()).collect()
}

/// How many of so many are admitted, over the nodes in turn.
async fn admitted_of(caller: &Caller, count: usize, nodes: &[Node]) -> usize {
    let mut admitted = 0;
    for number in 0..count {
        admitted += usize::from(caller.admitted(&nodes[number % nodes.len()].limiter).await);
    }
    admitted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_requests_at_once_on_three_nodes_get_the_limit_and_no_more() {
    let nodes = nodes(3).await;
    ten_thousand_at_once(limiters(&nodes), "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_second_admits_more_than_its_limit_and_a_whole_one_admits_all_of_it() {
    let nodes = nodes(3).await;
    let limits = workflow([Some(40), None, Some(100_000)]);
    let stop = Instant::now() + Duration::from_millis(3300);
    let tasks = (0..12).map(|number| {
        let (limiter, limits) = (nodes[number % 3].limiter.clone(), limits.clone());
        tokio::spawn(async move {
            let caller = Caller::new("where2eat", "nightly", &limits);
            let mut seconds = Vec::new();
            while Instant::now() < stop {
                if let Ok(Verdict::Admitted(standing)) = limiter.take(&caller.ask()).await {
                    // Redis's own second, told by how far off its midnight is.
                    seconds.push(standing.windows[0][2].ends_in);
                }
            }
            seconds
        })
    });
    let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
    for task in futures::future::join_all(tasks).await {
        task.unwrap().into_iter().for_each(|second| *counts.entry(second).or_default() += 1);
    }
    assert!(counts.values().all(|count| *count <= 40), "{counts:?}");
    let inner = counts.values().skip(1).take(counts.len() - 2);
    assert!(counts.len() >= 4 && inner.clone().all(|count| *count == 40), "{counts:?}");
}

#[tokio::test]
async fn a_refused_request_counts_nowhere_and_workflows_do_not_share() {
    let nodes = nodes(2).await;
    let limits = limits(Rates([None, Some(2), None]), Rates([None, Some(5), None]), Rates([None, None, Some(20)]));
    let caller = |workflow| Caller::new("where2eat", workflow, &limits);
    assert_eq!(admitted_of(&caller("one"), 10, &nodes).await, 2);
    assert_eq!(left(&nodes[1].limiter.look(&caller("two").ask()).await.unwrap()), [2, 3, 18]);
    assert_eq!(admitted_of(&caller("two"), 10, &nodes).await, 2);
    assert_eq!(admitted_of(&caller("three"), 10, &nodes).await, 1);
    assert_eq!(caller("three").refused(&nodes[0].limiter).await.0, "app-hour");
    assert_eq!(caller("one").refused(&nodes[0].limiter).await.0, "workflow-hour");
    let mut other = Caller::new("marketing", "one", &limits);
    assert_eq!(admitted_of(&other, 10, &nodes).await, 2, "an app that is called like its owner");
    assert_eq!(left(&nodes[1].limiter.look(&other.ask()).await.unwrap()), [0, 3, 13]);
    other.owner = "clinic".parse().unwrap();
    assert_eq!(left(&nodes[1].limiter.look(&other.ask()).await.unwrap())[2], 20);
}

#[tokio::test]
async fn a_changed_limit_is_compared_with_the_true_count_on_every_node() {
    let nodes = nodes(2).await;
    let caller = |rates| Caller::new("where2eat", "nightly", &workflow(rates));
    assert_eq!(admitted_of(&caller([None, Some(10), None]), 20, &nodes).await, 10);
    assert_eq!(admitted_of(&caller([None, Some(4), None]), 5, &nodes).await, 0, "lowered below what was used");
    assert_eq!(admitted_of(&caller([None, Some(13), None]), 5, &nodes).await, 3, "raised: three more, not thirteen");
    assert_eq!(
        admitted_of(&caller([None, None, Some(20)]), 20, &nodes).await,
        7,
        "a new limit knows the day's thirteen"
    );
}

#[tokio::test]
async fn a_loop_is_stopped_whichever_node_it_asks() {
    let nodes = nodes(3).await;
    let limits = Arc::new(RateLimits::new(Rates([Some(100_000), None, None]), NONE, NONE, 4));
    let caller = |body| Caller::new("where2eat", "nightly", &limits).sending(body);
    // At the end of a minute there may be as many again.
    let admitted = admitted_of(&caller("loop"), 30, &nodes).await;
    assert!(admitted == 4 || admitted == 8, "{admitted}");
    let (name, wait) = caller("loop").refused(&nodes[0].limiter).await;
    assert!(name == "same-request" && wait >= 1, "{name} {wait}");
    assert_eq!(admitted_of(&caller("other"), 3, &nodes).await, 3);
}

#[tokio::test]
async fn keys_end_by_themselves_and_hold_no_more_than_names() {
    let (url, prefix) = (env("VESTIBULE_TEST_REDIS_URL"), unique("limits"));
    let node = node(&url, options(&prefix)).await;
    let limits = limits(Rates::USUAL, Rates([None, None, Some(9)]), Rates([None, None, Some(9)]));
    let caller = Caller::new("where2eat", "nightly", &limits).sending("{\"filename\":\"secret.pdf\"}");
    assert!(caller.admitted(&node.limiter).await);
    let mut connection = ::redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut keys: Vec<String> =
        ::redis::cmd("KEYS").arg(format!("{prefix}:*")).query_async(&mut connection).await.unwrap();
    keys.sort();
    assert_eq!(keys.len(), 4, "{keys:?}");
    let names: Vec<&str> = keys.iter().map(|key| key.strip_prefix(&prefix).unwrap()).collect();
    assert_eq!(names[..2], [":owner:{marketing}", ":{where2eat}"]);
    assert_eq!(names[2], ":{where2eat}:nightly");
    assert!(names[3].starts_with(":{where2eat}:nightly:same:") && names[3].len() == 58, "{names:?}");
    for key in &keys {
        let ends: i64 = ::redis::cmd("TTL").arg(key).query_async(&mut connection).await.unwrap();
        let most = if key.contains(":same:") { 60 } else { 86_400 };
        assert!((1..=most).contains(&ends), "{key} {ends}");
    }
}

#[tokio::test]
async fn a_server_that_lost_the_script_gets_it_again_and_what_is_no_counter_is_none() {
    let mut server = Server::start().await;
    let node = node(&server.url(), options("v")).await;
    let caller = Caller::new("where2eat", "nightly", &workflow([None, None, Some(3)]));
    assert_eq!(caller.admitted_of(5, &node.limiter).await, 3);
    let mut connection = ::redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let _: () = ::redis::cmd("SCRIPT").arg("FLUSH").query_async(&mut connection).await.unwrap();
    assert!(!caller.admitted(&node.limiter).await, "the script is lost, the count is not");
    let _: () =
        ::redis::cmd("SET").arg("v:{where2eat}:nightly").arg("nonsense").query_async(&mut connection).await.unwrap();
    assert_eq!(caller.admitted_of(5, &node.limiter).await, 3, "counts begin anew");

    server.start_again().await;
    let began = Instant::now();
    while !caller.admitted(&node.limiter).await {
        assert!(began.elapsed() < PATIENCE, "did not connect again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(caller.admitted_of(5, &node.limiter).await, 2, "what a restart forgets is admitted once more");
}

#[tokio::test]
async fn tls_is_spoken_and_an_unknown_authority_is_not_trusted() {
    let server = Server::start_with_tls().await;
    let caller = Caller::new("where2eat", "nightly", &workflow([None, None, Some(3)]));
    let trusted = node(&server.url(), options("v")).await;
    assert_eq!(caller.admitted_of(5, &trusted.limiter).await, 3);
    let stranger: RedisUrl = server.url().split('?').next().unwrap().parse().unwrap();
    let stranger = RedisLimits::new(&stranger, options("v"), Clock::system()).unwrap();
    let stranger = Limiter::Redis(Box::new(stranger));
    assert!(stranger.probe().await.unwrap().is_err());
    assert!(!caller.admitted(&stranger).await);
}

/// Short waits, so that a test sees what a deadline does.
fn impatient(when_away: WhenAway) -> RedisOptions {
    RedisOptions { when_away, deadline: Duration::from_millis(250), max_in_flight: 64, prefix: "v".into() }
}

#[tokio::test]
async fn while_redis_is_gone_nobody_is_admitted_and_then_it_goes_on_by_itself() {
    let mut server = Server::start().await;
    let node = node(&server.url(), impatient(WhenAway::Deny)).await;
    let caller = Caller::new("where2eat", "nightly", &workflow([None, None, Some(1000)]));
    assert!(caller.admitted(&node.limiter).await);
    server.kill();
    let began = Instant::now();
    let mut waits = Vec::new();
    for _ in 0..100 {
        waits.push(caller.take(&node.limiter).await.unwrap_err().retry_after);
    }
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "nobody waits for what is known to be gone: {:?}",
        began.elapsed()
    );
    assert!(waits[0] == 1 && waits[99] > 60 && waits.is_sorted(), "{waits:?}");
    assert!(node.limiter.look(&caller.ask()).await.is_err());
    assert!(node.limiter.probe().await.unwrap().is_err());
    server.start_again().await;
    let began = Instant::now();
    while !caller.admitted(&node.limiter).await {
        assert!(began.elapsed() < PATIENCE, "did not connect again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_frozen_redis_costs_a_deadline_and_not_a_queue() {
    let server = Server::start().await;
    let node = node(&server.url(), impatient(WhenAway::Deny)).await;
    let caller = Caller::new("where2eat", "nightly", &workflow([None, None, Some(100_000)]));
    assert!(caller.admitted(&node.limiter).await);
    server.freeze();
    let began = Instant::now();
    let takes = (0..500).map(|_| async {
        assert!(caller.take(&node.limiter).await.is_err());
        began.elapsed()
    });
    let mut took = futures::future::join_all(takes).await;
    took.sort();
    assert!(took[435] < Duration::from_millis(200), "beyond 64 nobody waits: {:?}", took[435]);
    assert!(took[499] < Duration::from_millis(900), "nobody waits longer than the deadline: {:?}", took[499]);
    let began = Instant::now();
    for _ in 0..200 {
        assert!(caller.take(&node.limiter).await.is_err());
    }
    assert!(began.elapsed() < Duration::from_millis(500), "once it is known: {:?}", began.elapsed());
    server.thaw();
    let began = Instant::now();
    while !caller.admitted(&node.limiter).await {
        assert!(began.elapsed() < PATIENCE, "did not connect again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn where_the_operator_chose_so_a_node_goes_on_alone_with_what_it_has_counted() {
    let mut server = Server::start().await;
    let (one, two) =
        (node(&server.url(), impatient(WhenAway::Local)).await, node(&server.url(), impatient(WhenAway::Local)).await);
    let caller = Caller::new("where2eat", "nightly", &workflow([None, None, Some(10)]));
    assert_eq!((caller.admitted_of(4, &one.limiter).await, caller.admitted_of(3, &two.limiter).await), (4, 3));
    server.kill();
    assert_eq!(caller.admitted_of(30, &one.limiter).await, 6, "ten on this node");
    assert_eq!(caller.admitted_of(30, &two.limiter).await, 7, "and ten on that one, never more");
    assert!(!left(&one.limiter.look(&caller.ask()).await.unwrap()).iter().any(|left| *left > 0));
    server.start_again().await;
    let began = Instant::now();
    while one.limiter.probe().await.unwrap().is_err() {
        assert!(began.elapsed() < PATIENCE, "did not connect again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_nodes_clocks_do_not_matter() {
    let (url, prefix) = (env("VESTIBULE_TEST_REDIS_URL"), unique("limits"));
    let caller = Caller::new("where2eat", "nightly", &workflow([None, None, Some(10)]));
    let mut admitted = 0;
    for now in ["2026-11-20T23:59:59Z", "2026-11-21T00:00:00Z", "2031-01-01T12:00:00Z"] {
        let clock = Clock::manual(now.parse().unwrap());
        let limits = RedisLimits::new(&url.parse().unwrap(), options(&prefix), clock).unwrap();
        let limiter = Limiter::Redis(Box::new(limits));
        limiter.probe().await.unwrap().unwrap();
        admitted += caller.admitted_of(7, &limiter).await;
    }
    assert_eq!(admitted, 10);
}
