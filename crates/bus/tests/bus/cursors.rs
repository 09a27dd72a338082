//! Cursors that others store as well.

use crate::world;

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_replaced_only_where_nobody_stored_another_since() {
    let world = world(1).await;
    let bus = &world.bus;
    bus.store_cursor("sweep/linear", "1".into()).await.unwrap();
    let (_, began_from) = bus.cursor_at("sweep/linear").await.unwrap().unwrap();
    bus.begin_sweeps_anew().await.unwrap();
    assert!(!bus.replace_cursor("sweep/linear", "2".into(), began_from).await.unwrap());
    assert_eq!(bus.cursor("sweep/linear").await.unwrap().unwrap(), "null");
    let (_, began_from) = bus.cursor_at("sweep/linear").await.unwrap().unwrap();
    // The second time its answer was lost.
    for _ in 0..2 {
        assert!(bus.replace_cursor("sweep/linear", "2".into(), began_from).await.unwrap());
    }
    assert_eq!(bus.cursor("sweep/linear").await.unwrap().unwrap(), "2");
}
