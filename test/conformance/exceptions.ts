import type { Exception } from './outcome.ts';

const both = ['1.3.1', '1.5.7'] as const;

/** What RNS 1.5.7 does otherwise than RNS 1.3.1, which the suite was written against. This stack does as 1.5.7. */
const values: readonly Exception[] = [
  {
    test: 'tests/test_discovery_resolver_v2.py::test_default_stamp_cost_14*',
    rns: both,
    kind: 'value',
    reason: 'an announced interface shows 16 bits of work since RNS 1.5, not 14',
  },
  {
    test: 'tests/test_docs_normative_v2.py::test_discovery_stamp_default_cost_is_14*',
    rns: both,
    kind: 'value',
    reason: 'an announced interface shows 16 bits of work since RNS 1.5, not 14',
  },
  {
    test: 'tests/test_docs_normative_v2.py::test_announce_queue_cap_and_lifetime_literals*',
    rns: both,
    kind: 'value',
    reason: 'since RNS 1.5.1 4096 announces wait for an interface, for 3 h, not 16384 for a day',
  },
  {
    test: 'tests/test_interfaces_v2.py::test_optimise_mtu_tier_boundaries*',
    rns: both,
    kind: 'value',
    reason: 'the tiers of link MTUs include their lower bound since RNS 1.5.1',
  },
  {
    test: 'tests/test_interfaces_v2.py::test_hdlc_stream_not_capped_by_hw_mtu*',
    rns: both,
    kind: 'value',
    reason: 'a frame longer than its medium carries is dropped since RNS 1.5.0, over HDLC as well',
  },
  {
    test: 'tests/test_reticulum_config_completeness.py::test_header1_minsize_is_19*',
    rns: both,
    kind: 'value',
    reason: 'a packet without data is malformed since RNS 1.5.1',
  },
  {
    test: 'tests/wire/test_path_discovery.py::test_discover_paths_for_mode_gating[*->kos->*-boundary]',
    rns: both,
    kind: 'value',
    reason:
      'a boundary interface searches over boundaries and gateways for who asks since RNS 1.5, not at all before',
  },
  {
    test: 'tests/wire/test_link_protocol.py::test_keepalive_ff_answered_with_fe_initiator_ignores_own_echo[kos-to-*]',
    rns: both,
    kind: 'value',
    reason: 'a keepalive is answered only where nothing else was sent lately since RNS 1.5',
  },
  {
    test: 'tests/wire/test_link2_hooks.py::test_discovery_on_negotiates_link_mtu_to_hw_mtu[*-to-kos]',
    rns: both,
    kind: 'value',
    reason: 'the tiers of link MTUs include their lower bound since RNS 1.5.1: 16384 at 10 Mbit/s, not 8192',
  },
  {
    test: 'tests/wire/test_resource_receiver_hooks.py::test_resource_adv_request_response_flags[*-to-kos]',
    rns: both,
    kind: 'value',
    reason: 'a request that comes as Resource is taken only where requests are served since RNS 1.5',
  },
  {
    test: 'tests/wire/test_channel_buffer2_hooks_wire.py::test_stream_write_chunking_and_compression[*-to-kos]',
    rns: both,
    kind: 'value',
    reason: 'a Buffer fills what the link carries since RNS 1.5; before it always had chunks of 423 bytes',
  },
];

/** The reference is the second of two, the first of two, or in the middle of three, whoever the others are. */
const second = ['*-to-reference'] as const;
const first = ['reference-to-*'] as const;
const middle = ['*->reference->*-boundary'] as const;
/** Without a wire, where the test asks the reference and then us. */
const primitive = ['kos'] as const;

/** Tests that the reference fails against itself at RNS 1.5.7, by why it does, with the roles in which it is looked at. */
const ofReference: readonly (readonly [
  reason: string,
  file: string,
  roles: readonly string[],
  ...tests: readonly string[],
])[] = [
  [
    'the suite drives a reader of RNS 1.3.1 that is written otherwise now; ours is asked after it',
    'tests/test_interfaces_hooks.py',
    primitive,
    'test_hdlc_deframe_stream_runt_drop',
    'test_hdlc_deframe_stream_multi_frame',
  ],
  [
    'the suite looks into a table at once, and RNS 1.5 takes packets in another thread',
    'tests/wire/test_raw_frame_ifac_hooks.py',
    first,
    'test_ifac_drops_short_packet',
    'test_ifac_drops_flag_missing',
    'test_drops_min_packet_length',
  ],
  [
    'the suite looks into a table at once, and RNS 1.5 takes packets in another thread',
    'tests/wire/test_raw_frame_ifac_hooks.py',
    second,
    'test_open_interface_drops_flag_set',
  ],
  [
    'a Buffer fills what the link carries since RNS 1.5',
    'tests/wire/test_channel_buffer2_hooks_wire.py',
    second,
    'test_stream_write_chunking_and_compression',
    'test_stream_eof_semantics',
  ],
  [
    'the tiers of link MTUs include their lower bound since RNS 1.5.1',
    'tests/wire/test_link2_hooks.py',
    second,
    'test_discovery_on_negotiates_link_mtu_to_hw_mtu',
  ],
  [
    'a keepalive is answered only where nothing else was sent lately since RNS 1.5',
    'tests/wire/test_link_protocol.py',
    first,
    'test_keepalive_ff_answered_with_fe_initiator_ignores_own_echo',
  ],
  [
    'a crafted announce is not sent by RNS 1.5',
    'tests/wire/test_packet_v2_receipt.py',
    second,
    'test_receipt_generation_packet_type_clause',
  ],
  [
    'a boundary interface searches over boundaries and gateways since RNS 1.5',
    'tests/wire/test_path_discovery.py',
    middle,
    'test_discover_paths_for_mode_gating',
  ],
  [
    'the state of a Resource that was rejected has another number since RNS 1.5',
    'tests/wire/test_resource_protocol.py',
    second,
    'test_accept_app_accepts_small_rejects_oversize',
    'test_bz2_decompression_bomb_marks_corrupt_and_tears_link',
  ],
  [
    'a request that comes as Resource is taken only where requests are served since RNS 1.5',
    'tests/wire/test_resource_receiver_hooks.py',
    second,
    'test_resource_adv_request_response_flags',
  ],
];

/** What the suite cannot ask of RNS 1.5.7: the reference fails it against itself. */
const reference: readonly Exception[] = ofReference.flatMap(([reason, file, roles, ...tests]) =>
  tests.flatMap(name =>
    roles.map(role => ({
      test: `${file}::${name}[${role}]`,
      rns: ['1.5.7'],
      kind: 'reference' as const,
      reason,
    })),
  ),
);

/** Every test of the suite that is known not to pass; docs/conformance.md says the same in words. */
export const exceptions: readonly Exception[] = [...values, ...reference];
