//! How the lanes share a batch.

use std::task::Poll;

/// How much of a batch each lane may take while all of them have some: most urgent first. None starves.
const SHARES: [usize; 4] = [8, 4, 2, 1];

/// Takes up to `max` of what the sources have now, the most urgent source first.
pub(super) fn batch<S, T>(
    sources: &mut [S],
    max: usize,
    mut poll: impl FnMut(&mut S) -> Poll<anyhow::Result<T>>,
) -> Poll<anyhow::Result<Vec<T>>> {
    let mut batch = Vec::new();
    let several = sources.len() > 1;
    let whole: usize = SHARES.iter().sum();
    // First each lane's share, then what is left of the batch to whoever has something, most urgent first.
    for by_share in [true, false] {
        for (source, share) in sources.iter_mut().zip(SHARES) {
            let limit = if several && by_share { (max * share / whole).max(1) } else { max };
            let end = max.min(batch.len() + limit);
            while batch.len() < end {
                match poll(source) {
                    Poll::Ready(Ok(message)) => batch.push(message),
                    // What was read is handed out first; the error comes again.
                    Poll::Ready(Err(error)) if batch.is_empty() => return Poll::Ready(Err(error)),
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
        }
    }
    if batch.is_empty() { Poll::Pending } else { Poll::Ready(Ok(batch)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a batch takes of lanes that hold so many messages each.
    fn taken(mut waiting: [usize; 4], max: usize) -> [usize; 4] {
        let before = waiting;
        let taken = batch(&mut waiting, max, |left| match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                Poll::Ready(Ok(()))
            }
            None => Poll::Pending,
        });
        assert_eq!(taken.is_pending(), before == [0; 4]);
        std::array::from_fn(|lane| before[lane] - waiting[lane])
    }

    #[test]
    fn each_lane_has_its_share_while_all_have_some() {
        assert_eq!(taken([100; 4], 30), [16, 8, 4, 2]);
    }

    #[test]
    fn what_a_lane_leaves_goes_to_the_most_urgent() {
        assert_eq!(taken([100, 0, 0, 100], 30), [28, 0, 0, 2]);
        assert_eq!(taken([3, 0, 0, 100], 30), [3, 0, 0, 27]);
    }

    #[test]
    fn the_last_lane_moves_in_small_batches_too() {
        assert_eq!(taken([100; 4], 15), [8, 4, 2, 1]);
        assert_eq!(taken([100; 4], 8), [4, 2, 1, 1]);
    }

    #[test]
    fn nothing_there_is_no_batch() {
        assert_eq!(taken([0; 4], 30), [0; 4]);
    }
}
