/**
 * The shape of a topology file. From it come the checks, the types and the JSON Schema for editors.
 *
 * A message has two lines: what is wrong, and what to write instead.
 *
 * @module
 */
import { z } from "zod";
import { MAX_PROCESSORS } from "../ffi/affinity.ts";
import { MAX_WORKERS, RINGS_PER_PORT } from "../src/dataplane/state_layout.ts";
import { addressProblem, type Problem, rangeProblem, routerProblem } from "./addresses.ts";
import { PATH_EXAMPLE, pathProblem } from "./paths.ts";
import { parseSeconds } from "./units.ts";

/** The version of the file format. */
export const FILE_VERSION = 1;
/** The bridge of every port that names none. */
export const DEFAULT_BRIDGE = "br0";
/** How long an address is remembered unless told otherwise (IEEE 802.1Q, table 8-6). */
export const DEFAULT_AGEING = "300s";
/** How many addresses a bridge is made for unless told otherwise. */
export const DEFAULT_MAX_ADDRESSES = 4096;
/** How long a guest may use an address unless told otherwise. */
export const DEFAULT_LEASE = "1h";
/** Most addresses of a bridge. */
export const MAX_ADDRESSES = 16384;
/** Most queue pairs of a port. */
export const MAX_QUEUE_PAIRS: number = RINGS_PER_PORT / 2;
const MAX_AGEING_SECONDS = 1_000_000;

/** Says what is wrong and what to write instead. */
function saying(reason: string, fix: string): { error: string } {
  return { error: `${reason}\n${fix}` };
}

/** A text that a function finds nothing wrong with. */
function checkedText(
  text: z.ZodString,
  problem: (text: string) => Problem | null,
): z.ZodString {
  return text.superRefine((text, context) => {
    const found = problem(text);
    if (found !== null) context.addIssue({ code: "custom", message: found.join("\n") });
  });
}

// Its message for a value that is missing is the library's.
const name = z.string({
  error: ({ input }) =>
    input === undefined
      ? undefined
      : "this is not text\nwrite a name; true, null and numbers need quotes",
}).regex(
  /^[A-Za-z][A-Za-z0-9_.-]{0,31}$/,
  saying(
    "this is not a name",
    "use 1 to 32 letters, digits, '_', '.' or '-', beginning with a letter",
  ),
);

const queues = z.int(saying("this is not a number of queue pairs", "write a number, like 2"))
  .min(1, saying("a port needs at least one queue pair", "write 1 or more"))
  .max(
    MAX_QUEUE_PAIRS,
    saying("this is more than a port can have", `write at most ${MAX_QUEUE_PAIRS}`),
  );

const mac = z.string(saying("this is not an Ethernet address", "write one like 52:54:00:00:00:01"))
  .regex(
    /^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$/,
    saying("this is not an Ethernet address", "write one like 52:54:00:00:00:01"),
  )
  .refine(
    (text) => (parseInt(text.slice(0, 2), 16) & 1) === 0,
    saying(
      "this address is for groups",
      "write one with an even first byte, like 52:54:00:00:00:01",
    ),
  );

const duration = z.string(saying("this is not a duration", "write a number and a unit, like 300s"))
  .refine((text) => parseSeconds(text) !== null, {
    ...saying("this is not a duration", "write a whole number and s, min, h or d, like 300s"),
    abort: true,
  })
  .refine(
    (text) => parseSeconds(text)! > 0 && parseSeconds(text)! <= MAX_AGEING_SECONDS,
    saying("this duration is out of range", `write 1s to ${MAX_AGEING_SECONDS}s`),
  );

const noPath = {
  error: ({ input }: { input?: unknown }) =>
    input === undefined
      ? "a vhost-user port needs a socket\nadd socket: with a path"
      : `this is not a path\n${PATH_EXAMPLE}`,
};

const socket = checkedText(
  z.string(noPath).min(1, { ...saying("the path is empty", PATH_EXAMPLE), abort: true }),
  pathProblem,
)
  .meta({
    description: "Path of the Unix socket; relative to the folder of this file. At most 107 bytes.",
    examples: ["/run/lab/vm1.sock", "vm1.sock"],
  });

const role = z.enum(["server", "client"]);

const portBridge = name.default(DEFAULT_BRIDGE).meta({
  description: "The bridge that the port joins.",
});

const vhostUserPort = z.strictObject({
  type: z.literal("vhost-user").meta({ description: "A guest that is connected over vhost-user." }),
  socket,
  role: role.default("server").meta({
    description:
      "server: labswitch listens. client: the guest's side listens, labswitch connects " +
      "and connects again for ever.",
  }),
  queues: queues.default(1).meta({ description: "Queue pairs that the guest may use." }),
  bridge: portBridge,
  mac: mac.optional().meta({
    description: "The address that `labswitch qemu-args` gives the guest. Not enforced.",
    examples: ["52:54:00:00:00:01"],
  }),
}).meta({ id: "vhost-user", description: "A port for a guest that is connected over vhost-user." });

const frontendPort = z.strictObject({
  type: z.literal("vhost-user-frontend").meta({
    description: "Another switch or back-end, for which labswitch plays the guest.",
  }),
  socket,
  role: role.default("client").meta({
    description:
      "client: the back-end listens, labswitch connects and connects again for ever. server: " +
      "labswitch listens.",
  }),
  queues: queues.default(1).meta({ description: "Queue pairs that are used." }),
  bridge: portBridge,
}).meta({
  id: "vhost-user-frontend",
  description: "A port that leads to another vhost-user back-end: a switch, a virtual NIC, passt.",
});

const noAddress = saying("this is not an address", "write one like 10.0.0.1/24");
const noRange = saying("this is not a range of addresses", "write one like 10.0.0.100-10.0.0.200");
const noRouter = saying("this is not an IPv4 address", "write one like 10.0.0.1");
const address = checkedText(z.string(noAddress), addressProblem);

const dhcp = z.strictObject({
  range: checkedText(z.string(noRange), rangeProblem).meta({
    description: "First and last address that guests get; in the network of the host's own.",
    examples: ["10.0.1.100-10.0.1.200"],
  }),
  lease: duration.default(DEFAULT_LEASE).meta({
    description: "How long a guest may use an address without asking again.",
    examples: ["1h", "12h"],
  }),
  router: checkedText(z.string(noRouter), routerProblem).optional().meta({
    description: "The router that guests are told about; none unless given.",
    examples: ["10.0.1.1"],
  }),
}, saying("this is not keys and values", "write { range: 10.0.0.100-10.0.0.200 }"));

const hostPort = z.strictObject({
  type: z.literal("host").meta({ description: "A host in labswitch itself." }),
  address: z.union([address, z.array(address).min(1, noAddress)], noAddress).meta({
    description:
      "Its address with the length of the prefix, or a list of one of IPv4 and one of IPv6.",
    examples: ["10.0.0.1/24", ["10.0.0.1/24", "fd00::1/64"]],
  }),
  mac: mac.optional().meta({
    description: "Its Ethernet address.",
    examples: ["52:54:00:00:00:01"],
  }),
  dhcp: dhcp.optional().meta({ description: "Gives IPv4 addresses to guests on its bridge." }),
  bridge: portBridge,
}).meta({
  id: "host",
  description:
    "A host in labswitch itself: it answers ARP, neighbour discovery and ping, and DHCP.",
});

const patchPort = z.strictObject({
  type: z.literal("patch").meta({ description: "One end of a cable between two bridges." }),
  peer: name.meta({
    description: "The patch port at the other end, whose peer is this one.",
    examples: ["patch2"],
  }),
  bridge: portBridge,
}).meta({ id: "patch", description: "One end of a cable between two bridges of this file." });

/** The kinds of ports, by their `type`. */
export const PORT_KINDS = {
  "vhost-user": vhostUserPort,
  "vhost-user-frontend": frontendPort,
  host: hostPort,
  patch: patchPort,
} as const;

const port = z.discriminatedUnion("type", [vhostUserPort, frontendPort, hostPort, patchPort]);

const bridge = z.strictObject({
  "ageing-time": duration.default(DEFAULT_AGEING).meta({
    description: "How long an address is remembered after its last frame.",
    examples: ["300s", "5min"],
  }),
  "max-macs": z.int(saying("this is not a number of addresses", "write a number, like 4096"))
    .min(1, saying("a bridge needs room for one address", "write 1 or more"))
    .max(
      MAX_ADDRESSES,
      saying("this is more than a bridge can remember", `write at most ${MAX_ADDRESSES}`),
    )
    .default(DEFAULT_MAX_ADDRESSES)
    .meta({ description: "How many addresses the bridge is made for." }),
});

const noWorkers = saying("this is not a number of threads", "write a number, like 1, or auto");
const noProcessor = saying("this is not the number of a processor", "write one like 2");

const workers = z.union([
  z.literal("auto"),
  z.int(noWorkers)
    .min(1, saying("the switch needs at least one poll thread", "write 1 or more"))
    .max(
      MAX_WORKERS,
      saying("this is more than the switch can use", `write at most ${MAX_WORKERS}`),
    ),
], noWorkers);

const processor = z.int(noProcessor).min(0, noProcessor).max(
  MAX_PROCESSORS - 1,
  saying("Linux has no processor with this number", `write at most ${MAX_PROCESSORS - 1}`),
);

const threads = z.strictObject({
  workers: workers.default(1).meta({
    description: "Poll threads. auto: as many as the machine has processors, less one.",
    examples: [1, "auto"],
  }),
  poll: z.enum(["adaptive", "busy", "event"]).default("adaptive").meta({
    description:
      "adaptive: poll while there is work, then sleep. busy: always poll. event: sleep " +
      "whenever there is no work.",
  }),
  pin: z.array(processor, saying("this is not a list of processors", "write one like [2, 3]"))
    .default([])
    .meta({
      description: "Processors that the poll threads stay on, one for each; empty: any.",
      examples: [[2, 3]],
    }),
});

/** A topology file. */
export const topologyFile = z.strictObject({
  version: z.literal(
    FILE_VERSION,
    saying("this version of the file format is not known", `write version: ${FILE_VERSION}`),
  ).meta({ description: "Version of the file format." }),
  name: name.optional().meta({ description: "Name of the lab." }),
  bridges: z.record(name, bridge.nullable()).default({}).meta({
    description: "Bridges with their options; br0 exists by itself.",
  }),
  ports: z.record(name, port).refine(
    (ports) => Object.keys(ports).length > 0,
    saying("there are no ports", "add at least one port"),
  ).meta({ description: "Ports by name." }),
  threads: threads.prefault({}).meta({ description: "Poll threads." }),
}).meta({ id: "labswitch", title: "labswitch topology" });

/** What the file holds after the checks. */
export type TopologyFile = z.infer<typeof topologyFile>;

/** The JSON Schema (draft-07) for editors. */
export function jsonSchema(): unknown {
  return z.toJSONSchema(topologyFile, { target: "draft-07", io: "input" });
}
