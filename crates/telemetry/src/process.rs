//! What the process takes of its machine, under the names that every Prometheus client uses. Read when somebody asks,
//! from `/proc`; where there is none, nothing is shown.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};
use rustix::param::{clock_ticks_per_second, page_size};

/// Its metrics alone: they have no prefix.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process));
    registry
}

#[derive(Debug)]
struct Process;

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// Ticks of all its threads, in user and in kernel mode.
    cpu: u64,
    /// Ticks from the machine's start to its own.
    start: u64,
    /// Bytes of addresses.
    size: u64,
    /// Pages in memory.
    resident: u64,
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let of = |file: &str| fs::read_to_string(file).ok();
        if let Some(stat) = of("/proc/self/stat").and_then(|text| Stat::read(&text)) {
            let help = "Seconds of processor time, of all threads";
            let cpu = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), MetricType::Counter)?;
            ConstCounter::new(seconds(stat.cpu)).encode(cpu)?;
            let booted = of("/proc/stat").and_then(|text| booted(&text));
            if let Some(booted) = booted {
                let help = "When the process started, in seconds since 1970";
                let unit = Some(&Unit::Seconds);
                let start = encoder.encode_descriptor("process_start_time", help, unit, MetricType::Gauge)?;
                ConstGauge::new(booted + seconds(stat.start)).encode(start)?;
            }
            let resident = stat.resident.saturating_mul(page_size() as u64);
            bytes(&mut encoder, "process_resident_memory", "Memory in use", resident)?;
            bytes(&mut encoder, "process_virtual_memory", "Addresses in use", stat.size)?;
        }
        let open = fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|open| *open > 0);
        // Before Linux 6.2 the folder does not say how many are in it.
        let open = open.or_else(|| fs::read_dir("/proc/self/fd").ok().map(|all| all.count() as u64));
        count(&mut encoder, "process_open_fds", "File descriptors in use", open)?;
        let most = of("/proc/self/limits").and_then(|text| most_descriptors(&text));
        count(&mut encoder, "process_max_fds", "File descriptors that may be in use", most)
    }
}

impl Stat {
    fn read(text: &str) -> Option<Self> {
        // The name of the program stands before in brackets, and may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // proc(5) counts from 1, and the two before the bracket.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu: field(14)? + field(15)?, start: field(22)?, size: field(23)?, resident: field(24)? })
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// When the machine started, in seconds since 1970.
fn booted(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// The soft limit; none if there is no limit.
fn most_descriptors(limits: &str) -> Option<u64> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

fn bytes(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?)
}

fn count(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_read_by_their_fields() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 9 9 20 0 4 0 12345 1048576 100 18446744073709551615";
        assert_eq!(Stat::read(stat), Some(Stat { cpu: 300, start: 12345, size: 1_048_576, resident: 100 }));
        assert_eq!(Stat::read("7 (cut off) S 1"), None);
        assert_eq!(booted("cpu 1 2\nbtime 1795590000\nprocesses 7\n"), Some(1_795_590_000.0));
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(most_descriptors(limits), Some(1024));
        assert_eq!(most_descriptors("Max open files            unlimited            unlimited            files"), None);
    }

    #[test]
    fn it_is_this_process_that_is_told_of() {
        let text = crate::metrics::encode(&Registry::default());
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age), "{age}");
        assert!(value("process_resident_memory_bytes") >= 1e6 && value("process_virtual_memory_bytes") >= 1e6);
        assert!(value("process_cpu_seconds_total") < 3600.0);
        assert!((3.0..=value("process_max_fds")).contains(&value("process_open_fds")), "{text}");
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    }
}
