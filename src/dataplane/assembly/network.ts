/**
 * Where a frame's IP header is.
 *
 * Source: IEEE 802.1Q, 9.6 (tags), RFC 894 and RFC 2464 (EtherTypes).
 */

/** Where the IP header starts, behind at most two tags; 0 when there is none. */
export function networkHeaderAt(frame: u32): u32 {
  let at: u32 = 12;
  for (let tags: u32 = 0; tags < 3; tags++) {
    const type = load<u16>(frame + at);
    if (type === 0x0008 || type === 0xdd86) return at + 2;
    if (type !== 0x0081 && type !== 0xa888) return 0;
    at += 4;
  }
  return 0;
}
