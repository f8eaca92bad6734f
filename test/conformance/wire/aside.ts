import type { Interface } from '../../../src/mesh/interface.ts';
import { encodeRandomBlob, signAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { importPrivate, keyLength, publicOf } from '../../../src/mesh/reticulum/keys.ts';
import type { Link } from '../../../src/mesh/reticulum/link-session.ts';
import {
  encodeLinkRequestProof,
  type LinkRequestProof,
  linkIdOf,
  linkRequestProofSigned,
} from '../../../src/mesh/reticulum/link-wire.ts';
import { contexts, decodePacket, encodePacket, packetMtu } from '../../../src/mesh/reticulum/packet.ts';
import { type Node, up } from './node.ts';
import { until } from './waiting.ts';

/**
 * A medium beside the suite's, with nobody on it but the test: a peer of our node whose keys the test holds, so that
 * it can say what only the true one may, and what it must not.
 */
export interface Aside {
  readonly name: string;
  /** Says something to the node over this medium. */
  say(raw: Uint8Array): void;
  /** What the node said over it, the oldest first. */
  readonly heard: readonly Uint8Array[];
}

const name = 'aside';
const asides = new WeakMap<Node, Promise<Aside>>();

export function asideOf(node: Node): Promise<Aside> {
  return asides.get(node) ?? open(node);
}

function open(node: Node): Promise<Aside> {
  const heard: Uint8Array[] = [];
  const opened = (async () => {
    const medium: Interface = {
      name,
      mtu: packetMtu,
      bitrate: 10_000_000,
      async run(port, signal) {
        port.ready();
        await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
      },
      async send(packet) {
        heard.push(new Uint8Array(packet));
      },
    };
    // Each case has a stranger of its own, and they follow one another faster than strangers may.
    const attachment = node.attach(medium, { ...node.policy, ingress: { limited: false } });
    await up(attachment, 5000);
    return {
      name,
      heard,
      say: (raw: Uint8Array) => node.wire.inject(name, node.policy.accessCode?.seal(raw) ?? raw),
    };
  })();
  asides.set(node, opened);
  return opened;
}

/** A destination of the test's own, which the node does not serve. */
export function strangerOf(node: Node, aspect: string, identity: Identity = generateIdentity(node.random)) {
  return new LocalDestination({ identity, appName: 'conformance', aspects: [aspect] });
}

/** The announce of a destination of the test's own, as it travels. */
export function announceOf(
  node: Node,
  destination: LocalDestination,
  appData?: Uint8Array,
  ratchet?: Uint8Array,
): Uint8Array {
  const randomBlob = encodeRandomBlob(node.random.bytes(5), node.clock.now() / 1000);
  return encodePacket(signAnnounce(destination, { randomBlob, appData, ratchet }));
}

/** A link of the node's to a destination of the test's own, asked for and not proven yet. */
export interface Asked {
  readonly destination: LocalDestination;
  readonly link: Link;
  /** The link request's packet, as it left. */
  readonly request: Uint8Array;
}

/** Makes the node ask for a link over the medium aside. */
export async function askForLink(node: Node, aspect: string): Promise<Asked> {
  const aside = await asideOf(node);
  const destination = strangerOf(node, aspect);
  aside.say(announceOf(node, destination));
  await until(() => node.transport.path(destination.hash), 2000);
  const before = aside.heard.length;
  node.links.open(destination.hash, { identity: destination.identity!.public }).catch(() => {});
  const request = await until(
    () => aside.heard.slice(before).find(raw => decodePacket(raw).packetType === 'link-request'),
    2000,
  );
  const link = request && node.links.get(linkIdOf(request, decodePacket(request).data.length));
  if (request === undefined || link === undefined) throw new Error('no link was asked for');
  return { destination, link, request };
}

/** What a link request proof is made of, but for its signature. */
export function proofPart(node: Node, signalled: boolean): Omit<LinkRequestProof, 'signature'> {
  const encryptionKey = publicOf(importPrivate('x25519', node.random.bytes(keyLength)));
  return { encryptionKey, mtu: packetMtu, signalled };
}

/** What the owner of a destination signs to prove a link. */
export function signedPart(
  { destination, link }: Asked,
  part: Omit<LinkRequestProof, 'signature'>,
): Uint8Array {
  return linkRequestProofSigned(link.id, destination.identity!.publicKey.subarray(keyLength), part);
}

/** A link request proof as it travels. */
export function linkProofPacket(link: Link, data: Uint8Array): Uint8Array {
  return encodePacket({
    hops: 0,
    contextFlag: false,
    propagation: 'broadcast',
    destinationType: 'link',
    packetType: 'proof',
    destinationHash: link.id,
    context: contexts.linkRequestProof,
    data,
  });
}

/** A link of the node's that the test's own destination has proven. */
export async function provenLink(node: Node, aspect: string): Promise<Asked> {
  const asked = await askForLink(node, aspect);
  const part = proofPart(node, true);
  const signature = asked.destination.identity!.sign(signedPart(asked, part));
  (await asideOf(node)).say(linkProofPacket(asked.link, encodeLinkRequestProof({ ...part, signature })));
  if (!(await until(() => asked.link.usable, 2000))) throw new Error('the link was not established');
  return asked;
}
