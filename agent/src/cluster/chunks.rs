//! Grouping of what waits: one message of many items, bounded in count and bytes, without lingering.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, stream::Fuse};

/// How much becomes one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Items at most.
    pub(super) items: usize,
    /// Bytes at most; a larger single item is a message of its own.
    pub(super) bytes: usize,
}

/// Whatever the stream has ready becomes one group. Nothing is waited for once there is one item.
pub(super) fn chunks<S: Stream + Unpin>(inner: S, bounds: Bounds, size: fn(&S::Item) -> usize) -> Chunks<S> {
    Chunks { inner: inner.fuse(), held: None, bounds, size }
}

/// See [`chunks`].
pub(super) struct Chunks<S: Stream> {
    inner: Fuse<S>,
    /// Taken from the stream, but too large for the group before it.
    held: Option<S::Item>,
    bounds: Bounds,
    size: fn(&S::Item) -> usize,
}

impl<S: Stream + Unpin> Stream for Chunks<S>
where
    S::Item: Unpin,
{
    type Item = Vec<S::Item>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Vec<S::Item>>> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        loop {
            let item = match self.held.take() {
                Some(item) => item,
                None => match self.inner.poll_next_unpin(cx) {
                    Poll::Ready(Some(item)) => item,
                    Poll::Ready(None) if group.is_empty() => return Poll::Ready(None),
                    Poll::Pending if group.is_empty() => return Poll::Pending,
                    Poll::Ready(None) | Poll::Pending => return Poll::Ready(Some(group)),
                },
            };
            bytes += (self.size)(&item);
            if !group.is_empty() && bytes > self.bounds.bytes {
                self.held = Some(item);
                return Poll::Ready(Some(group));
            }
            group.push(item);
            if group.len() >= self.bounds.items {
                return Poll::Ready(Some(group));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    async fn groups(sizes: &[usize], bounds: Bounds) -> Vec<Vec<usize>> {
        chunks(stream::iter(sizes.to_vec()), bounds, |size| *size).collect().await
    }

    #[tokio::test]
    async fn a_group_ends_at_its_count_and_at_its_bytes_and_keeps_the_order() {
        let bounds = Bounds { items: 3, bytes: 10 };
        let none: Vec<Vec<usize>> = vec![];
        assert_eq!(groups(&[], bounds).await, none);
        assert_eq!(groups(&[1, 2, 3, 4], bounds).await, [vec![1, 2, 3], vec![4]]);
        assert_eq!(groups(&[6, 4, 1, 10, 1], bounds).await, [vec![6, 4], vec![1], vec![10], vec![1]]);
        // Larger than a group may be: alone.
        assert_eq!(groups(&[1, 50, 60, 2], bounds).await, [vec![1], vec![50], vec![60], vec![2]]);
    }

    #[tokio::test]
    async fn no_group_of_several_items_is_larger_than_its_bytes() {
        let sizes: Vec<usize> = (0..500).map(|number| number * 7919 % 97).collect();
        let bounds = Bounds { items: 16, bytes: 200 };
        let all = groups(&sizes, bounds).await;
        assert!(all.iter().all(|group| group.len() == 1 || group.iter().sum::<usize>() <= bounds.bytes));
        assert!(all.iter().all(|group| group.len() <= bounds.items));
        assert_eq!(all.concat(), sizes);
    }

    #[tokio::test]
    async fn what_waits_goes_out_at_once() {
        let (sender, receiver) = mpsc::channel(8);
        let mut groups = chunks(ReceiverStream::new(receiver), Bounds { items: 8, bytes: 100 }, |_| 1);
        sender.send('a').await.unwrap();
        assert_eq!(groups.next().await, Some(vec!['a']));
        sender.send('b').await.unwrap();
        sender.send('c').await.unwrap();
        assert_eq!(groups.next().await, Some(vec!['b', 'c']));
        drop(sender);
        assert_eq!(groups.next().await, None);
    }
}
