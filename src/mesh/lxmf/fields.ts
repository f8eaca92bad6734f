/**
 * The fields of an LXMF message that have a meaning, by number. The table is the code and the doc; what
 * is not in it is somebody's own and travels untouched. A field's value is any msgpack value; texts are
 * UTF-8 in bin or str, whichever the sender liked.
 *
 * Source: the field constants of LXMF 1.2.1; shapes checked against it (test/vectors/lxmf.json).
 */
export const fields = {
  /** List of packed messages. */
  embedded: 0x01,
  /** bin: Sideband's packed sensors. */
  telemetry: 0x02,
  /** List of [source 16, s, telemetry, appearance]. */
  telemetryStream: 0x03,
  /** [icon name, foreground RGB 3, background RGB 3] */
  icon: 0x04,
  /** List of [name, bytes]. */
  attachments: 0x05,
  /** [type as in a file name, bytes] */
  image: 0x06,
  /** [one of `audioModes`, bytes] */
  audio: 0x07,
  /** bin: hash of the thread. */
  thread: 0x08,
  commands: 0x09,
  results: 0x0a,
  group: 0x0b,
  /** [expiry in s, ticket 16]: a secret between its two peers, never shown and never passed on. */
  ticket: 0x0c,
  event: 0x0d,
  rnrReferences: 0x0e,
  /** One of `renderers`. */
  renderer: 0x0f,
  /** bin 32: id of the message answered. */
  replyTo: 0x30,
  /** What of it is quoted, UTF-8. */
  replyQuote: 0x31,
  /** Map {0: id 32 of the message, 1: UTF-8}. */
  reaction: 0x40,
  /** Map {0: id 32}. */
  comment: 0x41,
  /** Map {0: id 32}. */
  continuation: 0x42,
  /** What the next two are. */
  customType: 0xfb,
  customData: 0xfc,
  customMeta: 0xfd,
  nonSpecific: 0xfe,
  debug: 0xff,
} as const;

/** Keys of the maps in `reaction`, `comment` and `continuation`. */
export const relationKeys = { message: 0x00, content: 0x01 } as const;

/** How audio is encoded: codec2 by bit rate, Opus by use. */
export const audioModes = {
  codec2_450pwb: 0x01,
  codec2_450: 0x02,
  codec2_700c: 0x03,
  codec2_1200: 0x04,
  codec2_1300: 0x05,
  codec2_1400: 0x06,
  codec2_1600: 0x07,
  codec2_2400: 0x08,
  codec2_3200: 0x09,
  opusOgg: 0x10,
  opusLowBandwidth: 0x11,
  opusMediumBandwidth: 0x12,
  opusPushToTalk: 0x13,
  opusHalfDuplex: 0x14,
  opusFullDuplex: 0x15,
  opusStandard: 0x16,
  opusHighQuality: 0x17,
  opusBroadcast: 0x18,
  opusLossless: 0x19,
  custom: 0xff,
} as const;

/** How the content wants to be shown. */
export const renderers = { plain: 0x00, micron: 0x01, markdown: 0x02, bbcode: 0x03 } as const;
