//! What `make bench-overload` offers: requests at a fixed rate, whatever the server makes of them.
//!
//! Each connection has its share of the rate and a timetable. A request that is due is sent at once or, where the one before
//! has no answer yet, right after it, and its latency counts from the moment at which it was due (as wrk2 does), so that a
//! slow server is not asked less politely. An answer counts as good where it is 201 and came within two seconds of its
//! sending. `Retry-After` is not heeded: these clients have no manners.
//! Usage: open_loop ADDRESS PATH RATE SECONDS CONNECTIONS, with the token and the body in TOKEN and BODY. Prints JSON.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a person or a tool waits for at most.
const PATIENCE: Duration = Duration::from_secs(2);
/// Latencies are counted in so many classes of a millisecond.
const CLASSES: usize = 60_000;

struct Seen {
    sent: AtomicU64,
    good: AtomicU64,
    late: AtomicU64,
    shed: AtomicU64,
    failed: AtomicU64,
    sent_to_answer: Vec<AtomicU64>,
    due_to_answer: Vec<AtomicU64>,
}

fn count(classes: &[AtomicU64], took: Duration) {
    let class = usize::try_from(took.as_millis()).unwrap_or(usize::MAX).min(classes.len() - 1);
    classes[class].fetch_add(1, Ordering::Relaxed);
}

fn percentile(classes: &[AtomicU64], part: f64) -> usize {
    let counts: Vec<u64> = classes.iter().map(|class| class.load(Ordering::Relaxed)).collect();
    let wanted = counts.iter().sum::<u64>() as f64 * part;
    let mut so_far = 0;
    counts
        .iter()
        .position(|count| {
            so_far += count;
            so_far as f64 >= wanted
        })
        .unwrap_or_default()
}

/// Sends a request and reads its answer; the status.
async fn ask(line: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> io::Result<u16> {
    line.write_all(request).await?;
    buffer.clear();
    loop {
        if line.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if buffer.len() >= end + 4 + length.unwrap_or(0_usize) {
            let status = head.get(9..12).and_then(|status| status.parse().ok());
            return status.ok_or_else(|| io::ErrorKind::InvalidData.into());
        }
    }
}

async fn client(address: String, request: Arc<[u8]>, first: Instant, every: Duration, end: Instant, seen: Arc<Seen>) {
    let (mut due, mut kept, mut buffer) = (first, None, Vec::with_capacity(4096));
    while due < end && Instant::now() < end {
        tokio::time::sleep_until(due.into()).await;
        let sent = Instant::now();
        seen.sent.fetch_add(1, Ordering::Relaxed);
        let answered = tokio::time::timeout(PATIENCE * 5, async {
            let line = match &mut kept {
                Some(line) => line,
                none => none.insert(TcpStream::connect(&address).await?),
            };
            ask(line, &request, &mut buffer).await
        });
        match answered.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(201) => {
                count(&seen.sent_to_answer, sent.elapsed());
                count(&seen.due_to_answer, due.elapsed());
                let counter = if sent.elapsed() <= PATIENCE { &seen.good } else { &seen.late };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Ok(503) => {
                seen.shed.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                seen.failed.fetch_add(1, Ordering::Relaxed);
                kept = None;
            }
        }
        due += every;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, rate, seconds, connections] = arguments.as_slice() else {
        return Err("usage: open_loop ADDRESS PATH RATE SECONDS CONNECTIONS".into());
    };
    let (rate, seconds, connections): (f64, f64, u32) = (rate.parse()?, seconds.parse()?, connections.parse()?);
    let (token, body) = (std::env::var("TOKEN")?, std::env::var("BODY")?);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let request: Arc<[u8]> = request.into_bytes().into();
    let classes = || (0..CLASSES).map(|_| AtomicU64::new(0)).collect();
    let zero = AtomicU64::default;
    let seen = Arc::new(Seen {
        sent: zero(),
        good: zero(),
        late: zero(),
        shed: zero(),
        failed: zero(),
        sent_to_answer: classes(),
        due_to_answer: classes(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let begin = Instant::now() + Duration::from_secs(1);
        let every = Duration::from_secs_f64(f64::from(connections) / rate);
        let end = begin + Duration::from_secs_f64(seconds);
        let clients: Vec<_> = (0..connections)
            .map(|at| {
                let first = begin + every.mul_f64(f64::from(at) / f64::from(connections));
                tokio::spawn(client(address.clone(), Arc::clone(&request), first, every, end, Arc::clone(&seen)))
            })
            .collect();
        for client in clients {
            client.await?;
        }
        Ok::<_, tokio::task::JoinError>(())
    })?;
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{}",
        serde_json::json!({
            "offered": rate * seconds,
            "sent": of(&seen.sent),
            "good": of(&seen.good),
            "late": of(&seen.late),
            "shed": of(&seen.shed),
            "failed": of(&seen.failed),
            "p50_ms": percentile(&seen.sent_to_answer, 0.50),
            "p99_ms": percentile(&seen.sent_to_answer, 0.99),
            "p99_from_due_ms": percentile(&seen.due_to_answer, 0.99),
        })
    );
    Ok(())
}
