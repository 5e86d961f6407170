/**
 * A real guest and a host port: Linux gets its address from the port's DHCP server and talks to it.
 *
 * Needs QEMU, a Debian kernel and busybox; see support/packages.ts.
 *
 * @module
 */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { formatIpv6, linkLocalAddress } from "../../src/ethernet/ipv6.ts";
import { parseMac } from "../../src/ethernet/frame.ts";
import { Guest, missingForGuests } from "../support/guest/guest.ts";
import { Labswitch } from "../support/labswitch.ts";
import { testWith } from "../support/test_with.ts";

const GATEWAY_MAC = "52:54:00:00:aa:01";
const TOPOLOGY = `version: 1
bridges: { lan: }
ports:
  gw:
    type: host
    address: [10.0.1.1/24, "fd00::1/64"]
    mac: ${GATEWAY_MAC}
    dhcp: { range: 10.0.1.100-10.0.1.200, lease: 2h, router: 10.0.1.1 }
    bridge: lan
  vm1: { type: vhost-user, socket: vm1.sock, bridge: lan }
  vm2: { type: vhost-user, socket: vm2.sock, bridge: lan }
`;
const PINGS = 20;

testWith(missingForGuests, "A guest gets its address from a host port and pings it", async (t) => {
  const folder = await Deno.makeTempDir({ prefix: "labswitch-host-" });
  try {
    await using lab = await Labswitch.start({ folder, topology: TOPOLOGY });
    const start = (name: string) => Guest.start({ folder, port: lab.port(name), address: "dhcp" });
    await using vm1 = await start("vm1");
    const { mac } = lab.port("vm1");

    await t.step("A guest is told all that it needs", async () => {
      deepStrictEqual(await vm1.lease(), {
        ...{ ip: "10.0.1.100", mask: "24", router: "10.0.1.1", server: "10.0.1.1", lease: "7200" },
      });
      await lab.awaitLine(new RegExp(`gw {2}leased 10\\.0\\.1\\.100 {2}to ${mac}`));
    });
    await t.step("A guest pings the host over IPv4 and IPv6", async () => {
      strictEqual(await vm1.ping("10.0.1.1", PINGS), PINGS);
      strictEqual(await vm1.ping("fd00::1", PINGS), PINGS);
      const linkLocal = formatIpv6(linkLocalAddress(parseMac(GATEWAY_MAC)));
      strictEqual(await vm1.ping(`${linkLocal}%eth0`, PINGS), PINGS);
    });
    await t.step("A guest renews its lease, and gets the same address after a reboot", async () => {
      await vm1.must("udhcpc -i eth0 -s /dhcp -n -q -r 10.0.1.100");
      strictEqual((await vm1.lease()).ip, "10.0.1.100");
      await vm1.reboot();
      strictEqual((await vm1.lease()).ip, "10.0.1.100");
    });
    await t.step("Two guests with leased addresses reach each other", async () => {
      await using vm2 = await start("vm2");
      strictEqual((await vm2.lease()).ip, "10.0.1.101");
      strictEqual(await vm2.ping("10.0.1.100", PINGS), PINGS);
      strictEqual(await vm2.ping("10.0.1.1", PINGS), PINGS);
    });
    await lab.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
