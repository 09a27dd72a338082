use std::convert::Infallible;

use super::*;

#[tokio::test]
async fn a_callback_that_panics_is_counted_and_the_operation_goes_on() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&heard);
    let steps = StepTracker::new("o")
        .on_step(|update| assert_ne!(update.state, "executing", "this callback is broken"))
        .on_step(move |update| keeps.lock().unwrap().push(update.state.clone()));
    let result = steps.run("a", "Doing it", async { Ok::<_, Infallible>(7) }).await;
    assert_eq!(result, Ok(7));
    assert_eq!(*heard.lock().unwrap(), ["executing", "completed"]);
    assert_eq!((steps.callback_panics(), steps.state("a")), (1, Some(State::Completed)));
}

#[tokio::test]
async fn a_step_ends_as_its_future_does() {
    let steps = StepTracker::new("o");
    let failed = steps.run("a", Description::tool("grep"), async { Err::<(), _>("no such file") }).await;
    assert_eq!(failed, Err("no such file"));
    let last = steps.history().pop().unwrap();
    assert_eq!((last.state.as_str(), last.error.as_str()), ("failed", "no such file"));
    assert_eq!(last.description, "The tool grep failed");
}

#[tokio::test]
async fn a_step_that_somebody_else_has_begun_is_run_and_left_to_them() {
    let steps = StepTracker::new("o");
    steps.executing("a", "Doing it").unwrap();
    assert_eq!(steps.run("a", "Doing it as well", async { Ok::<_, Infallible>(7) }).await, Ok(7));
    assert_eq!((steps.state("a"), steps.disputed()), (Some(State::Executing), 1));
    assert!(steps.completed("a").is_ok());
}

#[tokio::test]
async fn a_step_that_ended_is_begun_anew() {
    let steps = StepTracker::new("o");
    let failed = steps.run("a", "Doing it", async { Err::<(), _>("broken") }).await;
    assert_eq!(failed, Err("broken"));
    assert_eq!(steps.run("a", "Doing it again", async { Ok::<_, Infallible>(7) }).await, Ok(7));
    let states: Vec<_> = steps.history().into_iter().map(|update| update.state).collect();
    assert_eq!(states, ["executing", "failed", "reset", "executing", "completed"]);
    assert_eq!((steps.summary().completed, steps.disputed()), (1, 0));
}

#[tokio::test]
async fn nobody_comes_between_the_reset_of_a_step_and_its_new_beginning() {
    let steps = StepTracker::new("o");
    steps.failed("a", "broken").unwrap();
    let (other, refused) = (steps.clone(), Arc::new(AtomicU64::new(0)));
    let counts = Arc::clone(&refused);
    // Told of the reset, somebody else would begin the step, and the first beginning would be undone or refused.
    let eager = steps.clone().on_step(move |update| {
        if update.state == "reset" && other.executing("a", "Doing it as well").is_err() {
            counts.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert_eq!(eager.run("a", "Doing it", async { Ok::<_, Infallible>(7) }).await, Ok(7));
    assert_eq!((refused.load(Ordering::Relaxed), steps.disputed()), (1, 0));
    assert_eq!(steps.state("a"), Some(State::Completed));
}

#[tokio::test]
async fn predefined_steps_are_numbered_and_say_what_they_do() {
    let steps = StepTracker::new("o");
    let works = || async { Ok::<_, Infallible>(7) };
    assert_eq!(steps.query("open\n orders", works()).await, Ok(7));
    assert_eq!(steps.query("closed orders", works()).await, Ok(7));
    assert_eq!(steps.model_call("m", async { Err::<(), _>("no") }).await, Err("no"));
    assert_eq!(steps.tool("grep", works()).await, Ok(7));
    assert_eq!(steps.web_search("x", works()).await, Ok(7));
    assert_eq!(steps.api_call("GET /x", works()).await, Ok(7));
    assert_eq!(steps.database_lookup("orders", works()).await, Ok(7));
    let told: Vec<_> =
        steps.history().into_iter().map(|update| (update.step, update.state, update.description)).collect();
    let begun = told.iter().filter(|(_, state, _)| state == "executing").map(|(step, ..)| step.as_str());
    let names = ["query-1", "query-2", "model_call-1", "tool-1", "web_search-1", "api_call-1", "database_lookup-1"];
    assert!(begun.eq(names), "{told:?}");
    assert_eq!(told[0].2, "Working on the query: open orders");
    assert_eq!((told[5].1.as_str(), told[5].2.as_str()), ("failed", "The model m did not answer"));
}

#[tokio::test]
async fn each_callback_hears_what_it_is_for() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = |what: &'static str| {
        let heard = Arc::clone(&heard);
        move |update: &OperationStep| heard.lock().unwrap().push(format!("{what} {}", update.step))
    };
    let (progress, refused) = (Arc::clone(&heard), Arc::clone(&heard));
    let steps = StepTracker::of(Operation::new("o").with_total(2))
        .on_executing(note("executing"))
        .on_completed(note("completed"))
        .on_failed(note("failed"))
        .on_progress(move |whole| progress.lock().unwrap().push(format!("progress {whole}")))
        .on_refused(move |step, why| refused.lock().unwrap().push(format!("refused {step}: {why}")));
    steps.executing("a", "Doing it").unwrap();
    steps.completed("a").unwrap();
    steps.failed("b", "broken").unwrap();
    assert!(steps.completed("b").is_err());
    steps.reset_all();
    let refused = "refused b: the step \"b\" is failed and cannot be completed; reset it first, or begin it";
    assert_eq!(
        *heard.lock().unwrap(),
        ["executing a", "completed a", "progress 0.5", "failed b", refused, "progress 0"]
    );
    assert_eq!(steps.summary().pending, 2);
}

#[tokio::test]
async fn whatever_callback_panics_the_operation_goes_on() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&errors);
    let steps = StepTracker::of(Operation::new("o").with_total(1))
        .on_step(|_| panic!("on_step"))
        .on_executing(|_| panic!("on_executing"))
        .on_completed(|_| panic!("on_completed"))
        .on_failed(|_| panic!("on_failed"))
        .on_progress(|whole| panic!("on_progress {whole}"))
        .on_refused(|_, _| panic!("on_refused"))
        .on_error(move |said| {
            keeps.lock().unwrap().push(said.to_owned());
            panic!("on_error");
        });
    assert_eq!(steps.run("a", "Doing it", async { Ok::<_, Infallible>(7) }).await, Ok(7));
    assert!(steps.completed("a").is_err());
    assert_eq!(steps.run("a", "Doing it again", async { Err::<(), _>("broken") }).await, Err("broken"));
    let told = [
        "on_step",
        "on_executing",
        "on_step",
        "on_completed",
        "on_progress 1",
        "on_refused",
        "on_step",
        "on_progress 0",
        "on_step",
        "on_executing",
        "on_step",
        "on_failed",
    ];
    assert_eq!(*errors.lock().unwrap(), told);
    assert_eq!((steps.callback_panics(), steps.state("a")), (12, Some(State::Failed)));
}

#[tokio::test]
async fn a_step_whose_future_is_dropped_or_panics_failed() {
    let steps = StepTracker::new("o");
    {
        let mut work = std::pin::pin!(steps.run("a", "Waiting", std::future::pending::<Result<(), Infallible>>()));
        assert!(tokio::time::timeout(std::time::Duration::ZERO, &mut work).await.is_err());
        assert_eq!(steps.state("a"), Some(State::Executing));
    }
    assert_eq!(steps.state("a"), Some(State::Failed));
    let panics = steps.clone();
    let work = async move { panics.run("b", "Breaking", async { broken() }).await };
    assert!(tokio::spawn(work).await.unwrap_err().is_panic());
    assert_eq!(steps.state("b"), Some(State::Failed));
}

fn broken() -> Result<(), Infallible> {
    panic!("the work is broken")
}

#[tokio::test]
async fn what_somebody_else_did_to_a_step_meanwhile_costs_no_result() {
    let steps = StepTracker::new("o");
    let other = steps.clone();
    let work = async {
        other.reset("a").unwrap();
        Ok::<_, Infallible>(7)
    };
    assert_eq!(steps.run("a", "Doing it", work).await, Ok(7));
    assert_eq!((steps.state("a"), steps.disputed()), (Some(State::Pending), 1));
}
