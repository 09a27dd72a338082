//! How things stand: what a client is told before the changes come. Read once for all who ask at the same time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use crate::event::{Event, Form};
use crate::hub::Versions;
use crate::position::Position;
use crate::room::Room;
use crate::wire::{self, opcode};

/// The items of a room at one moment, as they were read.
#[derive(Debug, Default)]
pub struct Items {
    /// As the API shows them.
    pub shown: Vec<Value>,
    /// Which version of which item that is: changes up to it are contained.
    pub versions: Vec<(Uuid, u64)>,
    /// There are more items than a snapshot holds.
    pub truncated: bool,
}

/// Where snapshots come from.
pub trait Snapshots: Send + Sync + 'static {
    /// The items of a room, at most `max`. An `Err` is a sentence for the log.
    fn read<'a>(&'a self, room: &'a Room, max: usize) -> BoxFuture<'a, Result<Items, String>>;
}

/// The items of a room at one moment, ready to be shown.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Lists of items as JSON; none for a room without items.
    pages: Vec<String>,
    /// By item the version that is shown.
    pub versions: Arc<Versions>,
    /// The one item's id, where there is only one.
    pub id: Option<String>,
    truncated: bool,
}

impl Snapshot {
    fn of(items: Items, page: usize) -> Self {
        let written = |items: &[Value]| serde_json::to_string(items).unwrap_or_else(|_| "[]".into());
        let id = match items.versions.as_slice() {
            [(id, _)] => Some(id.to_string()),
            _ => None,
        };
        Self {
            pages: items.shown.chunks(page.max(1)).map(written).collect(),
            versions: Arc::new(items.versions.into_iter().map(|(id, version)| (id.to_string(), version)).collect()),
            id,
            truncated: items.truncated,
        }
    }
}

/// About how many bytes of messages one page holds at most: clients bound what they read at once.
const PAGE_BYTES: usize = 256 * 1024;

/// The messages that show a snapshot, with what else stands in its room: at least one; all but the last say that more follows. Each is
/// written when its turn has come.
#[derive(Debug, Clone)]
pub struct Pages {
    room: Room,
    position: Position,
    snapshot: Arc<Snapshot>,
    standing: Arc<[Arc<Event>]>,
    /// How many messages one holds at most.
    page: usize,
    /// How many lists of items, and how many messages, were shown.
    items: usize,
    messages: usize,
}

impl Pages {
    /// The snapshot of a room at a position, with what stands there.
    pub fn new(
        room: Room,
        position: Position,
        snapshot: Arc<Snapshot>,
        standing: Vec<Arc<Event>>,
        page: usize,
    ) -> Self {
        let standing = standing.into();
        Self { room, position, snapshot, standing, page: page.max(1), items: 0, messages: 0 }
    }

    /// Of which room.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Whether some of it was shown.
    pub fn has_begun(&self) -> bool {
        self.items > 0 || self.messages > 0
    }

    /// Whether all of it was shown.
    pub fn is_over(&self) -> bool {
        self.has_begun() && self.items >= self.snapshot.pages.len() && self.messages >= self.standing.len()
    }

    /// The next page, as it is written in a form.
    pub fn next(&mut self, form: Form) -> Bytes {
        let text = self.text();
        match form {
            Form::Sse => wire::event("snapshot", &text),
            // It is large and like nobody else's; it is worth the time.
            Form::JsonDeflated => match wire::compressed(text.as_bytes()) {
                Some(small) => wire::frame_compressed(opcode::TEXT, &small).into(),
                None => wire::frame(opcode::TEXT, text.as_bytes()).into(),
            },
            Form::Json | Form::Protobuf => wire::frame(opcode::TEXT, text.as_bytes()).into(),
        }
    }

    fn text(&mut self) -> String {
        let items = self.snapshot.pages.get(self.items).map_or("[]", String::as_str);
        self.items += 1;
        let mut messages = String::new();
        for event in self.standing.iter().skip(self.messages).take(self.page) {
            if !messages.is_empty() {
                messages.push(',');
            }
            messages.push_str(&event.text());
            self.messages += 1;
            if messages.len() >= PAGE_BYTES {
                break;
            }
        }
        let (name, position) = (Value::from(self.room.to_string()), self.position);
        let (more, truncated) = (!self.is_over(), self.snapshot.truncated);
        let mut text = String::with_capacity(items.len() + messages.len() + 256);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{{\"type\":\"snapshot\",\"room\":{name},\"position\":\"{position}\",\"items\":{items},\"messages\":[{messages}],\
             \"more\":{more},\"truncated\":{truncated}}}"
        );
        text
    }
}

/// How many reads of the database may go on at once.
const AT_ONCE: usize = 4;

/// Reads each room once for all who ask for it at the same time: whoever asks while a read is under way, which may have missed
/// what they must see, shares the next one.
pub struct Desk(Arc<Inside>);

struct Inside {
    source: Box<dyn Snapshots>,
    max: usize,
    page: usize,
    wait: Duration,
    at_once: Semaphore,
    /// Who waits for the next read of a room. A room that is here is being read.
    waiting: Mutex<HashMap<Room, Vec<Answer>>>,
}

type Answer = oneshot::Sender<Result<Arc<Snapshot>, String>>;

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    /// Reads from a source at most `max` items, in pages, within `wait`.
    pub fn new(source: Box<dyn Snapshots>, max: usize, page: usize, wait: Duration) -> Self {
        let (at_once, waiting) = (Semaphore::new(AT_ONCE), Mutex::default());
        Self(Arc::new(Inside { source, max, page, wait, at_once, waiting }))
    }

    /// How a room stands, not earlier than now. Nobody stands in line for a room without items.
    pub async fn read(&self, room: &Room) -> Result<Arc<Snapshot>, String> {
        if !room.has_items() {
            return Ok(Arc::default());
        }
        let (answer, answered) = oneshot::channel();
        let begins = {
            let mut waiting = self.0.waiting();
            let begins = !waiting.contains_key(room);
            waiting.entry(room.clone()).or_default().push(answer);
            begins
        };
        if begins {
            tokio::spawn(serve(Arc::clone(&self.0), room.clone()));
        }
        answered.await.unwrap_or_else(|_| Err("the reading was given up".into()))
    }
}

impl Inside {
    fn waiting(&self) -> MutexGuard<'_, HashMap<Room, Vec<Answer>>> {
        // A panic elsewhere leaves a list that is still whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn once(&self, room: &Room) -> Result<Arc<Snapshot>, String> {
        match tokio::time::timeout(self.wait, self.source.read(room, self.max)).await {
            Ok(read) => read.map(|items| Arc::new(Snapshot::of(items, self.page))),
            Err(_) => Err(format!("no answer within {} ms", self.wait.as_millis())),
        }
    }
}

/// Reads a room as long as somebody waits for it.
async fn serve(desk: Arc<Inside>, room: Room) {
    // While the database is away the line is long, and its clients are told nothing for as long as they stand in it.
    let place = tokio::time::timeout(desk.wait, desk.at_once.acquire()).await;
    loop {
        let those = {
            let mut waiting = desk.waiting();
            let those = waiting.get_mut(&room).map(std::mem::take).unwrap_or_default();
            if those.is_empty() {
                waiting.remove(&room);
                return;
            }
            those
        };
        let read = match &place {
            Ok(_) => desk.once(&room).await,
            Err(_) => Err(format!("no turn within {} ms", desk.wait.as_millis())),
        };
        for answer in those {
            // Whoever is gone meanwhile does not wait any more.
            let _ = answer.send(read.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proto::v1;
    use serde_json::json;
    use tokio::sync::Notify;

    use super::*;
    use crate::event::Draft;
    use crate::message::Message;
    use crate::position::{Feed, Place};
    use crate::room::Kind;

    fn standing(count: u64, size: usize) -> Vec<Arc<Event>> {
        let event = |number| {
            let state = v1::AgentState { agent: format!("a{number}"), task: "x".repeat(size), ..Default::default() };
            let place = Place { epoch: 1, sequence: number };
            let draft = Draft { message: Message::AgentState(state), feed: Feed::Live, place, trace: None, at_ms: 0 };
            Arc::new(Event::new(draft, number, Position::default()))
        };
        (1..=count).map(event).collect()
    }

    fn pages(count: usize, standing: Vec<Arc<Event>>) -> Vec<Value> {
        let items = Items { shown: vec![json!({"id": "x"}); count], ..Items::default() };
        let snapshot = Arc::new(Snapshot::of(items, 2));
        let room = Room::named("item:\"").unwrap_or_else(|_| Room::of(Kind::All));
        let mut pages = Pages::new(room, Position::default(), snapshot, standing, 2);
        let mut shown = Vec::new();
        while !pages.is_over() {
            shown.push(serde_json::from_str(&pages.text()).unwrap());
        }
        shown
    }

    fn shown(pages: &[Value], list: &str) -> Vec<usize> {
        pages.iter().map(|page| page[list].as_array().map_or(0, Vec::len)).collect()
    }

    #[test]
    fn a_snapshot_is_at_least_one_message_and_only_the_last_says_that_it_is_whole() {
        let more = |count| pages(count, vec![]).iter().map(|page| page["more"] == true).collect::<Vec<_>>();
        assert_eq!(more(0), [false]);
        assert_eq!(more(2), [false]);
        assert_eq!(more(3), [true, false]);
        assert_eq!(shown(&pages(3, vec![]), "items"), [2, 1]);
    }

    #[test]
    fn what_stands_is_shown_in_pages_too_that_are_not_too_large() {
        let both = pages(3, standing(2, 1));
        assert_eq!((shown(&both, "items"), shown(&both, "messages")), (vec![2, 1], vec![2, 0]));
        assert_eq!(both[0]["messages"][1]["agent"], "a2");
        let many = pages(0, standing(5, 1));
        assert_eq!(shown(&many, "messages"), [2, 2, 1]);
        assert_eq!(many.iter().map(|page| page["more"] == true).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(shown(&pages(0, standing(2, PAGE_BYTES)), "messages"), [1, 1]);
    }

    #[test]
    fn a_snapshot_is_compressed_for_whoever_agreed_to_that() {
        let first = |form| {
            let items = Items { shown: vec![json!({"id": "x"}); 100], ..Items::default() };
            let snapshot = Arc::new(Snapshot::of(items, 100));
            Pages::new(Room::of(Kind::All), Position::default(), snapshot, Vec::new(), 100).next(form)
        };
        let (plain, small) = (first(Form::Json), first(Form::JsonDeflated));
        // A whole text, and one whose payload is compressed.
        assert_eq!((plain[0], small[0]), (0x81, 0xc1));
        assert!(small.len() < plain.len() / 2, "{} of {}", small.len(), plain.len());
        assert_eq!(first(Form::Protobuf), plain, "a text, which those who agreed on nothing read, too");
    }

    /// Counts its reads, each of which goes on until it is let go.
    #[derive(Clone, Default)]
    struct Slow(Arc<(AtomicUsize, Notify)>);

    impl Snapshots for Slow {
        fn read<'a>(&'a self, _: &'a Room, _: usize) -> BoxFuture<'a, Result<Items, String>> {
            Box::pin(async move {
                let number = self.0.0.fetch_add(1, Ordering::AcqRel) + 1;
                self.0.1.notified().await;
                Ok(Items { versions: vec![(Uuid::nil(), number as u64)], ..Items::default() })
            })
        }
    }

    #[tokio::test]
    async fn nobody_waits_long_in_line_and_those_who_need_no_read_not_at_all() {
        let source = Slow::default();
        let wait = Duration::from_millis(100);
        let desk = Desk::new(Box::new(source), 10, 10, wait);
        let rooms: Vec<Room> = (0..200).map(|number| Room::named(&format!("item:K{number}")).unwrap()).collect();
        let began = std::time::Instant::now();
        let all = futures_util::future::join_all(rooms.iter().map(|room| desk.read(room)));
        let others = async {
            while desk.0.at_once.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            for name in ["item:ENG-*", "performance_metrics", "deliveries"] {
                assert!(desk.read(&Room::named(name).unwrap()).await.is_ok());
            }
            began.elapsed()
        };
        let (read, others) = tokio::join!(all, others);
        assert!(others < wait, "{others:?}");
        assert!(read.iter().all(Result::is_err));
        // One after another they would have taken 50 times as long.
        assert!(began.elapsed() < 10 * wait, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn those_who_ask_while_a_read_is_under_way_share_the_next_one() {
        let source = Slow::default();
        let desk = Arc::new(Desk::new(Box::new(source.clone()), 10, 10, Duration::from_secs(10)));
        let ask = || {
            let desk = Arc::clone(&desk);
            tokio::spawn(
                async move { desk.read(&Room::of(Kind::All)).await.unwrap().versions.values().copied().next() },
            )
        };
        let first = ask();
        while source.0.0.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..100).map(|_| ask()).collect();
        while desk.0.waiting().values().map(Vec::len).sum::<usize>() < 100 {
            tokio::task::yield_now().await;
        }
        source.0.1.notify_one();
        assert_eq!(first.await.unwrap(), Some(1));
        source.0.1.notify_one();
        for other in others {
            assert_eq!(other.await.unwrap(), Some(2));
        }
        assert_eq!(source.0.0.load(Ordering::Acquire), 2);
    }
}
