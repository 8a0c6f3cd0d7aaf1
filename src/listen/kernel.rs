//! What the kernel dropped before we could see it.

use std::os::fd::AsFd;

/// Datagrams lost to a full receive buffer, from the socket's row in `/proc/net/udp` or `udp6`; `None` without one.
pub(super) fn dropped(socket: &impl AsFd) -> Option<u64> {
    let inode = rustix::fs::fstat(socket).ok()?.st_ino;
    ["/proc/self/net/udp", "/proc/self/net/udp6"]
        .iter()
        .find_map(|table| drops_of(inode, &std::fs::read_to_string(table).ok()?))
}

/// Columns of a row: inode is the tenth, drops the last (net/ipv4/udp.c, `udp4_format_sock`).
fn drops_of(inode: u64, table: &str) -> Option<u64> {
    let inode = inode.to_string();
    let row = table.lines().skip(1).find(|row| row.split_ascii_whitespace().nth(9) == Some(&inode))?;
    row.split_ascii_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_the_socket_is_found() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
   11: 0100007F:0714 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 3
   12: 0100007F:0715 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 471 2 0000000000000000 42\n";
        assert_eq!(drops_of(471, table), Some(42));
        assert_eq!(drops_of(4711, table), Some(3));
        assert_eq!(drops_of(7, table), None);
        assert_eq!(drops_of(7, ""), None);
    }
}
