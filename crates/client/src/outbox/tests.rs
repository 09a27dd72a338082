use super::*;

const MAX: usize = 65_536;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn status(id: &str) -> Status {
    of(id, &format!("ci/build/{id}"))
}

fn of(id: &str, record: &str) -> Status {
    Status { id: Some(id.into()), ..Status::new(record, "running") }
}

/// An outbox whose endings can be looked at.
struct Watched {
    outbox: Outbox,
    waiting: Vec<(String, oneshot::Receiver<Ended>)>,
}

impl Watched {
    fn new(max: usize) -> Self {
        Self { outbox: Outbox::new(max), waiting: Vec::new() }
    }

    fn add(&mut self, statuses: Vec<Status>) -> Result<(), Error> {
        let ids: Vec<String> = statuses.iter().filter_map(|status| status.id.clone()).collect();
        self.waiting.extend(ids.into_iter().zip(self.outbox.add(statuses)?));
        Ok(())
    }

    /// The ids of the next message.
    fn next(&mut self, seconds: u64) -> Option<Vec<String>> {
        let statuses = self.outbox.next(MAX, at(seconds), "p1")?;
        Some(statuses.into_iter().filter_map(|status| status.id).collect())
    }

    fn stored(&mut self, ids: &[&str]) {
        let accepted =
            |(sequence, id): (u64, &&str)| Accepted { id: (*id).into(), record: format!("ci/build/{id}"), sequence };
        let accepted: Vec<_> = (1..).zip(ids).map(accepted).collect();
        self.outbox.stored(&accepted);
    }

    fn refused(&mut self, code: &str, indices: &[usize]) -> Next {
        let wrong = |index: &usize| Wrong { index: *index, field: "status".into(), detail: "no".into() };
        let errors: Vec<Wrong> = indices.iter().map(wrong).collect();
        let error = Error::Refused { status: 0, code: code.into(), detail: "no".into(), errors: errors.clone() };
        self.outbox.refused(code, &error, &errors)
    }

    /// What ended since.
    fn ended(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        self.waiting.retain_mut(|(id, waiting)| {
            let Ok(ended) = waiting.try_recv() else { return true };
            all.push(match ended {
                Ok(stored) => format!("{id} stored {}", stored.sequence),
                Err(Error::Refused { code, .. }) => format!("{id} {code}"),
                Err(Error::Replaced { .. }) => format!("{id} replaced"),
                Err(Error::AnswerLost { .. }) => format!("{id} answer_lost"),
                Err(error) => format!("{id} {error}"),
            });
            false
        });
        all
    }
}

fn sent(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn what_waits_goes_together_one_message_at_a_time() {
    let mut all = Watched::new(10);
    all.add(vec![status("a")]).unwrap();
    assert_eq!(all.next(0), Some(sent(&["a"])));
    all.add(vec![status("b")]).unwrap();
    all.add(vec![status("c")]).unwrap();
    assert_eq!(all.next(0), None);
    all.stored(&["a"]);
    assert_eq!(all.next(0), Some(sent(&["b", "c"])));
    assert_eq!(all.ended(), ["a stored 1"]);
}

#[test]
fn what_had_no_answer_when_the_connection_broke_goes_again_first_and_is_followed_from_where_it_was_first_sent() {
    let mut all = Watched::new(10);
    all.add(vec![status("a"), status("b")]).unwrap();
    all.next(0);
    all.add(vec![status("c")]).unwrap();
    all.outbox.lost();
    assert_eq!(all.outbox.next(MAX, at(1), "p9").map(|all| all.len()), Some(3));
    all.stored(&["a", "b", "c"]);
    let from: Vec<_> =
        all.waiting.iter_mut().map(|(_, waiting)| waiting.try_recv().unwrap().unwrap().from.unwrap()).collect();
    assert_eq!(from, ["p1", "p1", "p9"]);
}

#[test]
fn a_full_queue_lets_go_of_older_statuses_of_the_same_record_and_then_refuses() {
    let mut all = Watched::new(3);
    for (id, record) in [("a1", "r/r/a"), ("b1", "r/r/b"), ("a2", "r/r/a"), ("a3", "r/r/a")] {
        all.add(vec![of(id, record)]).unwrap();
    }
    assert_eq!(all.ended(), ["a1 replaced"]);
    assert!(matches!(all.add(vec![of("d", "r/r/d")]), Err(Error::QueueFull { .. })));
    assert_eq!(all.next(0), Some(sent(&["b1", "a2", "a3"])));
    assert!(matches!(all.add(vec![of("b2", "r/r/b")]), Err(Error::QueueFull { .. })), "it may be stored already");
    all.outbox.lost();
    assert!(matches!(all.add(vec![of("b3", "r/r/b")]), Err(Error::QueueFull { .. })), "nor after its connection broke");
    assert!(all.ended().is_empty());
}

#[test]
fn a_message_that_the_server_finds_wrong_in_places_ends_there_and_goes_again_with_the_rest() {
    let mut all = Watched::new(10);
    for id in ["a", "b", "c"] {
        all.add(vec![status(id)]).unwrap();
    }
    all.next(0);
    assert_eq!(all.refused("bad_statuses", &[1]), Next::Now);
    assert_eq!(all.ended(), ["b bad_statuses"]);
    assert_eq!(all.next(0), Some(sent(&["a", "c"])));
}

#[test]
fn a_refusal_that_names_nobody_is_found_out_call_by_call() {
    let mut all = Watched::new(10);
    all.add(vec![status("a")]).unwrap();
    all.add(vec![status("b")]).unwrap();
    all.next(0);
    all.refused("forbidden", &[]);
    assert_eq!(all.next(0), Some(sent(&["a"])));
    all.refused("forbidden", &[]);
    assert_eq!(all.next(0), Some(sent(&["b"])));
    all.stored(&["b"]);
    assert_eq!(all.ended(), ["a forbidden", "b stored 1"]);
}

#[test]
fn a_refusal_that_passes_is_tried_again_and_not_for_ever() {
    for (code, ends) in [("busy", "a busy"), ("not_stored", "a answer_lost"), ("timeout", "a answer_lost")] {
        let mut all = Watched::new(10);
        all.add(vec![status("a")]).unwrap();
        for _ in 1..ATTEMPTS_MAX {
            all.next(0);
            assert_eq!(all.refused(code, &[]), Next::Later);
        }
        assert!(all.ended().is_empty());
        all.next(0);
        all.refused(code, &[]);
        assert_eq!((all.ended(), all.next(0)), (vec![ends.to_owned()], None));
    }
}

#[test]
fn a_message_keeps_within_what_a_server_takes_and_what_alone_is_larger_ends() {
    let mut all = Watched::new(2_000);
    all.add((0..1_200).map(|number| status(&number.to_string())).collect()).unwrap();
    assert_eq!(all.next(0).map(|ids| ids.len()), Some(STATUSES_MAX));
    let mut large = Watched::new(10);
    let titled = |id: &str, size| Status { title: Some("x".repeat(size)), ..status(id) };
    large.add(vec![titled("a", 20_000), titled("b", 20_000), titled("c", 20_000), titled("d", MAX)]).unwrap();
    assert_eq!(large.next(0), Some(sent(&["a", "b"])));
    assert_eq!(large.ended(), ["d too_large"]);
}

#[test]
fn a_status_whose_answer_was_lost_is_not_sent_again_once_servers_may_have_forgotten_its_id() {
    let mut all = Watched::new(10);
    all.add(vec![status("a")]).unwrap();
    all.next(0);
    all.outbox.lost();
    all.add(vec![status("b")]).unwrap();
    assert_eq!(all.next(100), Some(sent(&["a", "b"])));
    all.outbox.lost();
    assert_eq!(all.next(101), Some(sent(&["b"])), "the other was sent not long ago");
    assert_eq!(all.ended(), ["a answer_lost"]);
}

#[test]
fn only_a_status_that_may_be_stored_grows_too_old_to_be_sent_again() {
    for (code, may) in [("busy", false), ("overloaded", false), ("not_stored", true), ("timeout", true)] {
        let mut all = Watched::new(10);
        all.add(vec![status("a")]).unwrap();
        all.next(0);
        all.refused(code, &[]);
        assert_eq!(all.next(101).is_none(), may, "{code}");
        assert_eq!(all.ended().is_empty(), !may, "{code}");
    }
}

fn auth_failed() -> Error {
    Error::Refused { status: 401, code: "auth_failed".into(), detail: String::new(), errors: Vec::new() }
}

#[test]
fn what_waits_when_it_is_closed_hears_why_and_what_was_sent_that_it_may_be_stored() {
    let mut all = Watched::new(10);
    all.add(vec![status("a")]).unwrap();
    all.next(0);
    all.add(vec![status("b")]).unwrap();
    all.outbox.close(&auth_failed());
    assert_eq!((all.ended(), all.outbox.len()), (vec!["a answer_lost".to_owned(), "b auth_failed".to_owned()], 0));
}

type End<'a> = &'a dyn Fn(&mut Outbox);

#[test]
fn what_may_be_stored_says_so_and_the_cause_whatever_ends_it() {
    let forbidden =
        || Error::Refused { status: 0, code: "forbidden".into(), detail: "not yours".into(), errors: Vec::new() };
    let ends: [(&str, End<'_>); 5] = [
        ("auth_failed", &|outbox| outbox.close(&auth_failed())),
        ("forbidden): not yours", &|outbox| {
            outbox.next(MAX, at(1), "p2");
            outbox.refused("forbidden", &forbidden(), &[]);
        }),
        ("does not name it", &|outbox| {
            outbox.next(MAX, at(1), "p2");
            outbox.stored(&[]);
        }),
        ("too_large", &|outbox| drop(outbox.next(BESIDE, at(1), "p2"))),
        ("it might count twice", &|outbox| drop(outbox.next(MAX, at(101), "p2"))),
    ];
    for (cause, end) in ends {
        let mut all = Watched::new(10);
        all.add(vec![status("a")]).unwrap();
        all.next(0);
        all.outbox.lost();
        end(&mut all.outbox);
        let error = all.waiting[0].1.try_recv().unwrap().unwrap_err();
        assert!(matches!(error, Error::AnswerLost { .. }), "{error}");
        let said = error.to_string();
        assert!(
            said.starts_with("the status of ci/build/a was sent and may be stored: ") && said.contains(cause),
            "{said}"
        );
    }
}

#[test]
fn a_status_that_is_wrong_in_itself_was_not_stored_before_either() {
    let mut all = Watched::new(10);
    all.add(vec![status("a")]).unwrap();
    all.next(0);
    all.outbox.lost();
    all.next(1);
    all.refused("bad_statuses", &[0]);
    assert_eq!(all.ended(), ["a bad_statuses"]);
}
