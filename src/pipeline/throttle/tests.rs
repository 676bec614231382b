use super::*;

fn throttle(change: impl FnOnce(&mut LimitSettings)) -> Throttle {
    let mut settings = LimitSettings::default();
    change(&mut settings);
    Throttle::new(settings, 1_000)
}

fn limit<T>(result: Result<T, Throttled>) -> Limit {
    result.err().expect("it is over a limit").limit
}

#[test]
fn a_flood_of_one_project_leaves_others_alone() {
    let throttle = throttle(|settings| {
        settings.project_per_second = 10;
        settings.projects.insert(
            "big".to_owned(),
            Limited { per_second: Some(1_000), per_day: Some(5), queue_share: None },
        );
    });
    let flood = (0..1_000).filter(|_| throttle.admit("small", None).is_ok()).count();
    assert!((100..120).contains(&flood), "{flood}");
    assert_eq!(limit(throttle.admit("small", None)), Limit::ProjectRate);
    throttle.admit("other", None).unwrap().queued();
    (0..5).for_each(|_| throttle.admit("big", None).unwrap().queued());
    assert_eq!(limit(throttle.admit("big", None)), Limit::ProjectQuota);
}

#[test]
fn events_that_were_not_queued_do_not_count_for_the_day() {
    let throttle = throttle(|settings| {
        settings.project_per_day = 2;
        settings.token_per_day = 1;
    });
    (0..10).for_each(|_| drop(throttle.admit("p", Some("t")).unwrap()));
    throttle.admit("p", Some("t")).unwrap().queued();
    assert_eq!(limit(throttle.admit("p", Some("t"))), Limit::TokenQuota);
    throttle.admit("p", Some("u")).unwrap().queued();
    assert_eq!(limit(throttle.admit("p", Some("v"))), Limit::ProjectQuota);
}

#[test]
fn only_tokens_with_a_limit_are_counted() {
    let throttle = throttle(|settings| {
        let own = Limited { per_day: Some(1), ..Limited::default() };
        settings.tokens.insert("limited".to_owned(), own);
    });
    for token in ["limited", "other"] {
        throttle.admit("p", Some(token)).unwrap().queued();
    }
    assert_eq!(limit(throttle.admit("p", Some("limited"))), Limit::TokenQuota);
    assert_eq!(read(&throttle.tokens).len(), 1);
}

#[test]
fn a_project_alone_may_fill_the_queue_and_with_others_only_its_share() {
    let throttle = throttle(|_| {});
    (0..900).for_each(|_| throttle.admit("flood", None).unwrap().queued());
    throttle.observe(Some(900));
    throttle.admit("flood", None).unwrap().queued();
    throttle.admit("other", None).unwrap().queued();
    throttle.observe(Some(902));
    assert_eq!(limit(throttle.admit("flood", None)), Limit::QueueShare);
    throttle.admit("other", None).unwrap().queued();
    // Workers have taken half of them.
    throttle.observe(Some(450));
    throttle.admit("flood", None).unwrap().queued();
    // The queue has been emptied.
    throttle.observe(Some(0));
    (0..800).for_each(|_| throttle.admit("flood", None).unwrap().queued());
    assert_eq!(limit(throttle.admit("flood", None)), Limit::QueueShare);
}

#[test]
fn ends_of_unknown_sessions_are_bounded_by_address_and_by_the_queue() {
    let throttle = throttle(|_| {});
    let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
    let end = |session: &str, address| throttle.end_session("p", session, address);
    throttle.saw(throttle.mark("p", "s"));
    assert_eq!(end("s", one), Ok(EndOf::Known));
    assert_eq!(end("s", one), Ok(EndOf::Unknown), "only once");
    let passed = (0..10_000).filter(|n| end(&n.to_string(), one).is_ok()).count();
    assert!((99..120).contains(&passed), "{passed}");
    assert_eq!(limit(end("x", one)), Limit::UnknownEnds);
    throttle.saw(throttle.mark("p", "s"));
    assert_eq!(end("s", one), Ok(EndOf::Known), "known ones pass");
    assert_eq!(end("x", two), Ok(EndOf::Unknown), "and those from elsewhere");
    throttle.observe(Some(501));
    assert_eq!(limit(end("x", two)), Limit::UnknownEnds);
    throttle.saw(throttle.mark("p", "s"));
    assert_eq!(end("s", two), Ok(EndOf::Known));
}

#[test]
fn a_client_cannot_multiply_itself_within_its_network() {
    let throttle = throttle(|_| {});
    let ip = |n: u16| format!("2001:db8:1:2::{n:x}").parse().unwrap();
    let passed = (0..10_000).filter(|n| throttle.look_up_token(ip(*n)).is_ok()).count();
    assert!((500..600).contains(&passed), "{passed}");
    assert_eq!(limit(throttle.look_up_token(ip(3))), Limit::UnknownTokens);
    throttle.look_up_token("2001:db8:1:3::1".parse().unwrap()).unwrap();
    assert_eq!(network("::ffff:192.0.2.7".parse().unwrap()).to_string(), "192.0.2.7");
}
