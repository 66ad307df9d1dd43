use super::*;

fn prepared(mix_lufs: Option<f64>, mix_dbtp: f64) -> Prepared {
    Prepared {
        title: "钟声".into(),
        sha256: String::new(),
        duration_ms: 1000,
        frames: 48_000,
        loudness_lufs: None,
        true_peak_dbtp: mix_dbtp,
        mix_lufs,
        mix_dbtp,
        codec: "flac".into(),
    }
}

#[test]
fn the_gain_reaches_the_target_unless_the_peak_forbids_it() {
    for (lufs, peak, expected) in [
        (Some(-23.0), -20.0, 7.0),
        (Some(-23.0), -3.0, 2.0),
        (Some(-10.0), -0.5, -6.0),
        (None, -20.0, 14.0),
        (None, 0.0, -6.0),
        (Some(f64::NAN), f64::INFINITY, 0.0),
    ] {
        let decibels = 20.0 * f64::from(prepared(lufs, peak).gain(-16.0)).log10();
        assert!(
            (decibels - expected).abs() < 0.01 || decibels == expected || decibels == 0.0,
            "{lufs:?} {peak} {decibels}"
        );
    }
}

#[test]
fn a_title_is_fit_for_a_page() {
    let long = "长".repeat(300);
    for (raw, expected) in [
        ("  冒充公检法\u{0}\n ", Some("冒充公检法".to_owned())),
        ("abc\u{202e}def", Some("abcdef".to_owned())),
        ("\u{feff}\t", None),
        ("å\u{86}\u{9c}", Some("农".to_owned())),
        ("café", Some("café".to_owned())),
        (&long, Some("长".repeat(200))),
    ] {
        assert_eq!(clean(raw), expected, "{raw:?}");
    }
}
