import type { DatabaseSync } from 'node:sqlite';

export interface BlobJobs {
  'blob.own': { args: { sha256: string; client: string; at: number }; result: undefined };
}

export function blobVerbs(database: DatabaseSync) {
  const own = database.prepare('INSERT OR REPLACE INTO blob_owners (sha256, client, at) VALUES (?, ?, ?)');
  return {
    'blob.own'({ sha256, client, at }: BlobJobs['blob.own']['args']): undefined {
      own.run(sha256, client, at);
    },
  };
}

export function blobReads(database: DatabaseSync) {
  const owned = database.prepare('SELECT 1 FROM blob_owners WHERE sha256 = ? AND client = ?');
  const carriers = database.prepare(
    'SELECT m.id AS message FROM message_blobs b JOIN messages m ON m.seq = b.message WHERE b.sha256 = ?',
  );
  const named = database.prepare(
    'SELECT 1 FROM blob_owners WHERE sha256 = ?1 UNION ALL SELECT 1 FROM message_blobs WHERE sha256 = ?1 LIMIT 1',
  );
  const carried = database.prepare('SELECT 1 FROM message_blobs WHERE sha256 = ? LIMIT 1');
  const uncarried = database.prepare(
    `SELECT sha256, client, at FROM blob_owners o WHERE at > ?
       AND NOT EXISTS (SELECT 1 FROM message_blobs b WHERE b.sha256 = o.sha256) ORDER BY at`,
  );
  return {
    /** Whether a message carries the blob. */
    isBlobCarried: (sha256: string) => carried.get(sha256) !== undefined,
    /** What clients put there since `after` (ms epoch) that no message carries, oldest first. */
    blobsUncarried: (after: number) =>
      uncarried.all(after) as { sha256: string; client: string; at: number }[],
    ownsBlob: (sha256: string, client: string) => owned.get(sha256, client) !== undefined,
    /** Messages that carry the blob. */
    blobCarriers: (sha256: string) => (carriers.all(sha256) as { message: string }[]).map(row => row.message),
    /** Whether any row names it. */
    isBlobNamed: (sha256: string) => named.get(sha256) !== undefined,
  };
}
