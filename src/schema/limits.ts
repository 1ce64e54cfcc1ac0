/**
 * Every limit that a caller can meet, by name, with its unit in the name.
 * A limit is part of the API: it is documented in `/openapi.json`, and crossing it is a Problem that names it.
 */
export const limits = {
  bodyBytesMax: 1_048_576,
  jsonDepthMax: 32,
  jsonMembersMax: 20_000,
  jsonNumberCharsMax: 64,
  textCharsMax: 65_536,
  urlCharsMax: 8_192,
  idempotencyKeyCharsMax: 255,
  requestIdCharsMax: 128,
  batchCommandsMax: 100,
  /** Faults that one answer tells of a body or a query. */
  faultsMax: 100,

  pageRowsDefault: 20,
  pageRowsMax: 100,
  filterTermsMax: 20,
  inValuesMax: 100,
  sortKeysMax: 3,
  includeDepthMax: 3,
  includeNodesMax: 10,
  includeRowsDefault: 10,
  /** Rows of a page times the rows that its includes may add to each. */
  pageIncludedRowsMax: 20_000,
  /** Records of one tenant and resource that a query may scan where no index serves it whole. */
  scanRowsMax: 200_000,
  cursorDaysMax: 7,

  /** Changes of a page of the feed; those that one look at the log takes, and about the bytes of their records. */
  feedRowsDefault: 100,
  feedRowsMax: 500,
  feedScanRowsMax: 500,
  feedBytesMax: 4_194_304,
  /** How long a request for changes may wait for the first. */
  feedWaitSecondsMax: 25,
  /** Followers of one node, and what may wait for one of them to read it before it is cut off. */
  followersMax: 10_000,
  followerBytesMax: 1_048_576,
  /** Between two signs of life of a stream, at which its key is checked as well. */
  signOfLifeMs: 20_000,

  webhooksPerTenantMax: 50,
  webhookUrlCharsMax: 2_048,
  /** Deliveries of one webhook that may wait; while there are more, the log is not read on for it. */
  webhookWaitingMax: 1_000,
  /** Requests that are under way to one webhook, and to all. */
  webhookSendsMax: 4,
  sendsMax: 128,
  /** How long a receiver may take to answer, and what is read of its answer. */
  sendMsMax: 15_000,
  sentAnswerBytesMax: 65_536,
  /** How long the secret that was replaced signs as well. */
  secretHoursKept: 24,

  idempotencyHoursKept: 24,
  fanoutRowsMax: 1_000,
  /** Records that one step of a backfill looks at. */
  backfillRowsMax: 1_000,
  /** Changes, records or rows that one step of a read model looks at, and about the bytes of their records. */
  projectionRowsMax: 500,
  projectionBytesMax: 4_194_304,
  /** Unread changes that the lag of a read model counts. */
  lagChangesMax: 100_000,
  /** Commands that may wait for the writer; one more is answered `overloaded`. */
  pendingWritesMax: 10_000,
  /** How long the first of them may have waited for one more to be taken. */
  writeWaitMsMax: 2_500,
  /** What a node keeps of its own answers while they are true; changes that it looks at one by one for that. */
  answerCacheBytesMax: 33_554_432,
  keptNewsMax: 1_000,

  /** An answer that is shared with other nodes; a larger one is not. */
  sharedAnswerBytesMax: 262_144,
  /** How old a shared answer may be at a primary, where its reader asks for nothing. What was written there is never missed. */
  sharedAgeMsMax: 5_000,
  /** How long a shared answer is kept, whatever is known of it: `eventual` reads take it as long. */
  sharedEntryMsMax: 600_000,
  /** How long a request waits for what nodes share, before it goes on without. */
  sharedStoreMsMax: 40,

  /** How long an edge waits for a connection to the primary, and for the whole of an answer, a second try included. */
  forwardConnectMsMax: 1_000,
  forwardMsMax: 10_000,
  /** Requests that an edge has under way to the primary, and the bytes of their bodies; more are answered `overloaded`. */
  forwardsMax: 1_024,
  forwardBytesMax: 67_108_864,
  /** Edges that a request may pass. */
  hopsMax: 3,
  /** How long a read waits at an edge for the position of its token, before it is sent to the primary. */
  positionWaitMsMax: 200,
  /** What an edge keeps of the answers to writes, until its copy has them. */
  recentWriteBytesMax: 16_777_216,

  /** Pairs of API version and key whose requests a node counts apart; the keys of more are counted together. */
  versionSeriesMax: 2_000,

  /** How long a node trusts a key that it has checked: a revoked key stops working within this time. */
  keyTrustMsMax: 2_000,
} as const
