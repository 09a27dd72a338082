use std::convert::Infallible;

use super::*;

#[tokio::test]
async fn a_callback_that_panics_is_counted_and_the_operation_goes_on() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keeps = Arc::clone(&heard);
    let steps = StepTracker::new("o")
        .on_update(|update| assert_ne!(update.state, "executing", "this callback is broken"))
        .on_update(move |update| keeps.lock().unwrap().push(update.state.clone()));
    let result = steps.run("a", "Doing it", async { Ok::<_, Infallible>(7) }).await.unwrap();
    assert_eq!(result, Ok(7));
    assert_eq!(*heard.lock().unwrap(), ["executing", "completed"]);
    assert_eq!((steps.callback_panics(), steps.state("a")), (1, Some(State::Completed)));
}

#[tokio::test]
async fn a_step_ends_as_its_future_does() {
    let steps = StepTracker::new("o");
    let failed = steps.run("a", Description::tool("grep"), async { Err::<(), _>("no such file") }).await.unwrap();
    assert_eq!(failed, Err("no such file"));
    let last = steps.history().pop().unwrap();
    assert_eq!((last.state.as_str(), last.error.as_str()), ("failed", "no such file"));
    assert_eq!(last.description, "The tool grep failed");
}

#[tokio::test]
async fn a_step_that_may_not_begin_is_not_run() {
    let steps = StepTracker::new("o");
    steps.executing("a", "Doing it").unwrap();
    let mut ran = false;
    let refused = steps
        .run("a", "Doing it again", async {
            ran = true;
            Ok::<_, Infallible>(())
        })
        .await;
    assert!(matches!(refused, Err(StepError::Transition { .. })) && !ran);
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
    assert_eq!(steps.run("a", "Doing it", work).await.unwrap(), Ok(7));
    assert_eq!((steps.state("a"), steps.disputed()), (Some(State::Pending), 1));
}
