//! What a bench reports.

use crate::benchmarks::run;
use guestbook_testkit::process::Place;
use serde_json::Value;

fn report(place: &Place, folder: &str) -> Value {
    let text = std::fs::read_to_string(place.path().join(folder).join("report.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A figure is the median of its runs, with the lowest and the highest.
#[track_caller]
fn assert_figure(figure: &Value) {
    let [low, median, high] = ["low", "median", "high"].map(|key| figure[key].as_f64().unwrap());
    assert!(
        0.0 <= low && low <= median && median <= high,
        "{figure} is no figure"
    );
}

#[test]
fn every_pair_has_every_figure_and_nothing_is_left_behind() {
    let place = Place::new();
    let shown = run(
        &place,
        &["--pairs", "sqlite+sled,memory", "--out", "report"],
    );
    let report = report(&place, "report");
    assert_eq!(report["schema"], 1);
    assert_eq!(report["workload"]["write_share"], 0.8);
    assert!(report["worst_spread"].as_f64().is_some());
    let pairs = report["pairs"].as_array().unwrap();
    let names: Vec<_> = pairs.iter().map(|pair| pair["pair"].as_str()).collect();
    assert_eq!(names, [Some("sqlite+sled"), Some("memory")]);
    for pair in pairs {
        let runs = pair["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 2, "{pair}");
        for run in runs {
            for figure in [
                "messages_per_s",
                "reads_per_s",
                "offered_per_s",
                "p50_ms",
                "p99_ms",
                "p999_ms",
                "cpu_s_per_1000",
                "resident_mib",
            ] {
                assert_figure(&run[figure]);
            }
            assert_eq!(run["errors"], 0);
            assert!(run["counts"]["batch_max"].as_u64().unwrap() >= 1, "{run}");
            assert!(!run["latency"].as_array().unwrap().is_empty());
        }
        assert_figure(&pair["ready_after_kill_ms"]);
    }
    assert_eq!(pairs[0]["durability"], "full");
    assert_eq!(pairs[0]["tables"], "synchronous=FULL");
    assert_figure(&pairs[0]["disk_bytes_per_message"]);
    assert!(pairs[0]["growth"].as_array().unwrap().len() > 1);
    assert_eq!(pairs[1]["durability"], "none");
    assert!(pairs[1]["disk_bytes_per_message"].is_null());
    let left = std::fs::read_dir(place.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        left,
        ["report"],
        "a bench leaves its report and nothing else"
    );
    assert_table(&shown);
    assert_page(&place);
    assert_charts(&place);
}

/// Different promises are not put into one table.
fn assert_table(shown: &str) {
    for words in [
        "durability full, by throughput",
        "durability none, by throughput",
        "not ranked against each other",
        "bytes on disk per message",
    ] {
        assert!(shown.contains(words), "{shown} has no {words}");
    }
    assert!(!shown.contains("any durability"), "{shown}");
}

/// The page has its charts and needs nothing from anywhere.
fn assert_page(place: &Place) {
    let page = std::fs::read_to_string(place.path().join("report/index.html")).unwrap();
    for words in [
        "Throughput by connections",
        "Latency distribution",
        "Disk growth",
        "<polyline",
        "tabindex=\"0\"",
        "prefers-color-scheme: dark",
    ] {
        assert!(page.contains(words), "the page has no {words}");
    }
    assert_needs_nothing(&page);
    assert!(!page.contains("http:"));
}

/// Each chart is a picture that stands by itself.
fn assert_charts(place: &Place) {
    for name in [
        "throughput-full",
        "throughput-none",
        "latency-full",
        "growth-full",
    ] {
        let chart = place.path().join(format!("report/{name}.svg"));
        let chart = std::fs::read_to_string(chart).unwrap();
        for words in ["<svg xmlns=", "<style>", "<polyline", "aria-label="] {
            assert!(chart.contains(words), "{name} has no {words}");
        }
        assert_needs_nothing(&chart);
    }
    assert!(!place.path().join("report/growth-none.svg").exists());
}

fn assert_needs_nothing(text: &str) {
    for word in [
        "https:", "src=", "href=", "<script", "@import", "url(", "NaN", "inf",
    ] {
        assert!(!text.contains(word), "there is {word}");
    }
}

#[test]
fn what_has_changed_is_said_with_a_ratio() {
    let place = Place::new();
    let small = ["--pairs", "memory", "--connections", "2", "--out", "before"];
    run(&place, &small);
    let before = "before/report.json";
    let now = [
        "--pairs",
        "memory",
        "--connections",
        "2",
        "--compare",
        before,
    ];
    let shown = run(&place, &now);
    assert!(shown.contains("compared with"), "{shown}");
    let line = shown
        .lines()
        .find(|line| line.contains("2 conns: messages/s"));
    assert!(line.is_some_and(|line| line.contains("×")), "{shown}");
    assert!(!shown.contains("other settings"), "{shown}");

    // A report of ten times as fast a store: every ratio of a throughput is beyond the spread.
    let mut faster = report(&place, "before");
    let run_of = &mut faster["pairs"][0]["runs"][0]["messages_per_s"];
    for key in ["low", "median", "high"] {
        run_of[key] = (run_of[key].as_f64().unwrap() * 1000.0).into();
    }
    faster["workload"]["seed"] = 8.into();
    std::fs::write(place.path().join(before), faster.to_string()).unwrap();
    let shown = run(&place, &now);
    let line = shown
        .lines()
        .find(|line| line.contains("2 conns: messages/s"));
    assert!(line.unwrap().contains("beyond the spread"), "{shown}");
    assert!(shown.contains("other settings"), "{shown}");
    assert!(!shown.contains("may be chance"), "{shown}");

    // What was measured once says nothing of how far its runs are apart.
    faster["workload"]["repeat"] = 1.into();
    std::fs::write(place.path().join(before), faster.to_string()).unwrap();
    let shown = run(&place, &now);
    assert!(shown.contains("nothing is known of its spread"), "{shown}");
    assert!(!shown.contains("beyond the spread"), "{shown}");
}

#[test]
fn straight_at_the_stores_and_ranked_anyway() {
    let place = Place::new();
    let shown = run(
        &place,
        &[
            "--pairs",
            "sqlite+sled,sqlite+memory,memory",
            "--target",
            "storage",
            "--durability",
            "normal",
            "--ignore-durability",
            "--repeat",
            "1",
        ],
    );
    for words in [
        "any durability, by throughput",
        "durability normal: synchronous=NORMAL",
        "through storage",
        "measured once",
    ] {
        assert!(shown.contains(words), "{shown} has no {words}");
    }
    assert!(!shown.contains("operations failed"), "{shown}");
}
