use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn sample(requests: u32, errors: u32, millis: u32) -> Sample {
    Sample { requests, errors, latency: MS * millis, strikes: 0 }
}

fn is_out(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Eject { .. })
}

fn outs(samples: &[Sample]) -> Vec<usize> {
    let verdicts = judge(samples, &Eject::default(), samples.len());
    (0..samples.len()).filter(|at| is_out(&verdicts[*at])).collect()
}

#[test]
fn who_fails_much_more_than_the_others_goes() {
    let mut samples = vec![sample(1000, 1, 10); 9];
    samples.push(sample(1000, 200, 10));
    assert_eq!(outs(&samples), [9]);
    // All are bad: nobody is worse, and the cause is elsewhere.
    assert_eq!(outs(&vec![sample(1000, 700, 10); 10]), [0; 0]);
    // Too few requests, or too few instances, to say so.
    samples[9] = sample(99, 99, 10);
    assert_eq!(outs(&samples), [0; 0]);
    assert_eq!(outs(&[sample(1000, 0, 10), sample(1000, 0, 10), sample(1000, 0, 10), sample(1000, 900, 10)]), [0; 0]);
}

#[test]
fn a_few_errors_among_many_successes_are_chance() {
    let mut samples = vec![sample(100, 0, 10); 9];
    samples.push(sample(100, 3, 10));
    assert_eq!(outs(&samples), [0; 0]);
    samples[9].errors = 12;
    assert_eq!(outs(&samples), [9]);
}

#[test]
fn who_is_slow_goes_after_three_intervals() {
    let mut samples = vec![sample(100, 0, 20); 9];
    samples.push(sample(100, 0, 1000));
    assert_eq!(judge(&samples, &Eject::default(), 5)[9], Verdict::Slow);
    samples[9].strikes = 1;
    assert_eq!(judge(&samples, &Eject::default(), 5)[9], Verdict::Slow);
    samples[9].strikes = 2;
    let expected = Verdict::Eject { cause: Cause::Latency, found: 1.0, bound: 0.1 };
    assert_eq!(judge(&samples, &Eject::default(), 5)[9], expected);
    assert_eq!(judge(&samples, &Eject::default(), 0)[9], Verdict::Slow);
    assert_eq!(judge(&samples, &Eject { latency: None, ..Eject::default() }, 5)[9], Verdict::Well);
}

#[test]
fn a_difference_that_harms_nobody_is_none() {
    let mut samples = vec![Sample { latency: MS / 10, ..sample(100, 0, 0) }; 9];
    samples.push(Sample { strikes: 9, ..sample(100, 0, 40) });
    assert_eq!(outs(&samples), [0; 0]);
}

#[test]
fn the_worst_go_first() {
    let mut samples = vec![sample(1000, 0, 10); 20];
    samples[3] = Sample { strikes: 9, ..sample(1000, 0, 9000) };
    samples[4] = sample(1000, 900, 10);
    samples[5] = sample(1000, 950, 10);
    let verdicts = judge(&samples, &Eject::default(), 1);
    assert_eq!((0..20).filter(|at| is_out(&verdicts[*at])).collect::<Vec<_>>(), [5]);
    assert_eq!(verdicts[3], Verdict::Slow);
    assert_eq!(outs(&samples), [3, 4, 5]);
}

/// So many of `requests` fail as chance wants at this rate.
fn errors(requests: u32, rate: f64, seed: &mut fastrand::Rng) -> u32 {
    (0..requests).map(|_| u32::from(seed.f64() < rate)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn never_more_than_there_is_room_for(
        samples in prop::collection::vec((0_u32..2000, 0_u32..2000, 0_u32..5000, 0_u8..5), 0..60),
        room in 0_usize..60,
    ) {
        let samples: Vec<_> = samples.into_iter()
            .map(|(requests, errors, millis, strikes)| Sample { strikes, ..sample(requests, errors.min(requests), millis) })
            .collect();
        let verdicts = judge(&samples, &Eject::default(), room);
        prop_assert_eq!(verdicts.len(), samples.len());
        prop_assert!(verdicts.iter().filter(|v| is_out(v)).count() <= room);
        // Never all for one cause: somebody is at the mean, and half at the median or better.
        for cause in [Cause::SuccessRate, Cause::Latency] {
            let out = |v: &&Verdict| matches!(v, Verdict::Eject { cause: c, .. } if *c == cause);
            prop_assert!(samples.is_empty() || verdicts.iter().filter(out).count() < samples.len());
        }
    }

    #[test]
    fn equals_stay_whatever_they_all_are(
        count in 5_usize..100, requests in 100_u32..3000, rate in 0.0..1.0_f64, millis in 0_u32..5000, seed: u64,
    ) {
        let mut seed = fastrand::Rng::with_seed(seed);
        let samples: Vec<_> = (0..count)
            .map(|_| {
                let millis = millis + seed.u32(0..=millis);
                Sample { strikes: 9, ..sample(requests, errors(requests, rate, &mut seed), millis) }
            })
            .collect();
        prop_assert_eq!(outs(&samples), [0; 0]);
    }

    /// Bad: fails at least a third more of its requests than the others. The fault may begin in the middle of an interval,
    /// so the first whole one is the second at most.
    #[test]
    fn one_bad_among_ten_goes_within_two_intervals(
        requests in 100_u32..3000, rate in 0.0..0.1_f64, more in 0.33..0.9_f64, begins in 0.0..1.0_f64, seed: u64,
    ) {
        let mut seed = fastrand::Rng::with_seed(seed);
        let mut interval = |bad: f64| {
            let mut samples: Vec<_> = (0..9).map(|_| sample(requests, errors(requests, rate, &mut seed), 10)).collect();
            samples.push(sample(requests, errors(requests, rate + bad, &mut seed), 10));
            outs(&samples)
        };
        let (first, second) = (interval(more * (1.0 - begins)), interval(more));
        prop_assert!(first.is_empty() || first == [9]);
        prop_assert!(first == [9] || second == [9]);
    }
}
