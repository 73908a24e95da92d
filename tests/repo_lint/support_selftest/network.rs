//! The proxy.

use guestbook_testkit::servers::Proxy;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A server that answers every byte with itself, for as long as this process lives; its address.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut answers = stream.try_clone().unwrap();
                // A connection may end in any way.
                let _ = std::io::copy(&mut stream, &mut answers);
            });
        }
    });
    address
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    stream
}

fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"ping")?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    assert_eq!(&answer, b"ping");
    Ok(())
}

fn is_silent(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let read = stream.read(&mut [0; 4]);
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    read.is_err_and(|cause| matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

#[test]
fn bytes_pass_whole_and_in_order_also_with_a_delay() {
    let proxy = Proxy::start(&echo());
    let sent: Vec<u8> = (0..4_000_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    for delay in [Duration::ZERO, Duration::from_millis(30)] {
        proxy.delay(delay, delay);
        let mut stream = connect(&proxy);
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        writing.join().unwrap();
        assert!(received == sent, "{} bytes", received.len());
    }
}

#[test]
fn a_delay_is_there_each_way_and_does_not_add_up_over_many_requests_under_way() {
    let proxy = Proxy::start(&echo());
    let mut stream = connect(&proxy);
    proxy.delay(Duration::from_millis(100), Duration::from_millis(50));
    let since = Instant::now();
    ask(&mut stream).unwrap();
    assert!(
        since.elapsed() >= Duration::from_millis(140),
        "{:?}",
        since.elapsed()
    );
    // One after the other they would take 200 seconds.
    proxy.delay(Duration::from_millis(500), Duration::from_millis(500));
    let since = Instant::now();
    for _ in 0..200 {
        stream.write_all(b"ping").unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    stream.read_exact(&mut [0; 800]).unwrap();
    assert!(
        since.elapsed() < Duration::from_secs(100),
        "{:?}",
        since.elapsed()
    );
    proxy.delay(Duration::ZERO, Duration::ZERO);
    ask(&mut stream).unwrap();
}

#[test]
fn a_cut_resets_every_present_connection_and_no_later_one() {
    let proxy = Proxy::start(&echo());
    let mut streams = [connect(&proxy), connect(&proxy)];
    for stream in &mut streams {
        ask(stream).unwrap();
    }
    assert_eq!((proxy.accepted(), proxy.open()), (2, 2));
    proxy.cut();
    assert_eq!((proxy.accepted(), proxy.open()), (2, 0));
    for stream in &mut streams {
        let read = stream.read(&mut [0; 4]);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    ask(&mut connect(&proxy)).unwrap();
    assert_eq!(proxy.accepted(), 3);
}

#[test]
fn what_is_stalled_comes_later() {
    let proxy = Proxy::start(&echo());
    let mut present = connect(&proxy);
    ask(&mut present).unwrap();
    proxy.stall();
    let mut new = connect(&proxy);
    for stream in [&mut present, &mut new] {
        stream.write_all(b"ping").unwrap();
        assert!(is_silent(stream));
    }
    proxy.resume();
    for stream in [&mut present, &mut new] {
        stream.read_exact(&mut [0; 4]).unwrap();
        ask(stream).unwrap();
    }
}

#[test]
fn stalled_answers_leave_the_request_done() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&listener.local_addr().unwrap().to_string());
    let mut client = connect(&proxy);
    let (mut server, _) = listener.accept().unwrap();
    proxy.stall_answers();
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    server.write_all(b"pong").unwrap();
    assert!(is_silent(&mut client));
    proxy.cut();
    assert!(client.read(&mut [0; 4]).is_err());
}

#[test]
fn what_is_refused_is_accepted_again_later() {
    let proxy = Proxy::start(&echo());
    let mut present = connect(&proxy);
    ask(&mut present).unwrap();
    proxy.refuse();
    let refused = TcpStream::connect(proxy.address());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    ask(&mut present).unwrap();
    proxy.resume();
    ask(&mut connect(&proxy)).unwrap();
}

#[test]
fn a_server_that_is_not_there_ends_the_connection() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let proxy = Proxy::start(&port.to_string());
    assert!(connect(&proxy).read(&mut [0; 4]).is_err());
}

#[test]
fn a_url_is_led_through_it() {
    let proxy = Proxy::start("127.0.0.1:1");
    let here = proxy.address();
    let cases = [
        ("redis://127.0.0.1:7000", format!("redis://{here}")),
        (
            "rediss://:pw@127.0.0.1:7000/3",
            format!("rediss://:pw@{here}/3"),
        ),
        (
            "postgres://u@h:1/db?sslmode=require",
            format!("postgres://u@{here}/db?sslmode=require"),
        ),
    ];
    for (url, led) in cases {
        assert_eq!(proxy.before(url), led);
    }
}
