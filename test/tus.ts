import {
  DetailedError,
  type PreviousUpload,
  Upload,
  type UploadOptions,
  type UrlStorage,
} from 'tus-js-client';

/** An upload of tus-js-client and how it ends. */
export interface RealUpload {
  readonly upload: Upload;
  /** Rejects with the library's own error. */
  readonly ended: Promise<void>;
  /** Status and headers of the answers, in order. */
  readonly answers: { readonly method: string; readonly status: number; readonly blob: string | undefined }[];
}

/** Begins an upload of tus-js-client, resumed where its `urlStorage` knows it. */
export async function uploadByTus(bytes: Buffer, options: UploadOptions): Promise<RealUpload> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
  const answers: RealUpload['answers'] = [];
  const upload = new Upload(bytes, {
    retryDelays: null,
    ...options,
    onSuccess: () => resolve(),
    onError: reject,
    async onAfterResponse(request, response) {
      answers.push({
        method: request.getMethod(),
        status: response.getStatus(),
        blob: response.getHeader('kos-blob'),
      });
      await options.onAfterResponse?.(request, response);
    },
  });
  ended.catch(() => {});
  if (options.urlStorage !== undefined) {
    const [previous] = await upload.findPreviousUploads();
    if (previous !== undefined) {
      upload.resumeFromPreviousUpload(previous);
    }
  }
  upload.start();
  return { upload, ended, answers };
}

/** What the hub said to the upload that failed with this error. */
export function refusalOf(error: unknown): { readonly status: number; readonly body: string } {
  if (!(error instanceof DetailedError) || !error.originalResponse) {
    throw error;
  }
  return { status: error.originalResponse.getStatus(), body: error.originalResponse.getBody() };
}

/** Remembers uploads as the storage of a browser does, from one to the next. */
export function rememberedUrls(): UrlStorage {
  const known = new Map<string, { readonly fingerprint: string; readonly upload: PreviousUpload }>();
  const every = () => [...known].map(([urlStorageKey, { upload }]) => ({ ...upload, urlStorageKey }));
  return {
    findAllUploads: async () => every(),
    findUploadsByFingerprint: async fingerprint =>
      every().filter(({ urlStorageKey }) => known.get(urlStorageKey)?.fingerprint === fingerprint),
    async removeUpload(key) {
      known.delete(key);
    },
    async addUpload(fingerprint, upload) {
      const key = `${fingerprint} ${known.size}`;
      known.set(key, { fingerprint, upload });
      return key;
    },
  };
}
