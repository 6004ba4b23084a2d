import {
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  type ListMultipartUploadsCommandInput,
  type ListObjectsV2CommandInput,
  type ListObjectsV2CommandOutput,
  type ListPartsCommandInput,
  type MultipartUpload,
  type Part,
  type S3Client,
} from '@aws-sdk/client-s3'

/*
 * Lists come in pages of up to 1,000. A server that says there is more, but not from where on, or from
 * where it was already, is not asked for ever.
 */

type Send = S3Client['send']

export async function* objectPages(
  send: Send,
  request: ListObjectsV2CommandInput,
): AsyncGenerator<ListObjectsV2CommandOutput, void> {
  let token: string | undefined
  for (;;) {
    const from = token === undefined ? {} : { ContinuationToken: token }
    const page = await send(new ListObjectsV2Command({ ...request, ...from }))
    yield page
    const next = page.NextContinuationToken
    if (!page.IsTruncated || next === undefined || next === token) return
    token = next
  }
}

export async function* partPages(
  send: Send,
  request: ListPartsCommandInput,
): AsyncGenerator<readonly Part[], void> {
  let marker: string | undefined
  for (;;) {
    const from = marker === undefined ? {} : { PartNumberMarker: marker }
    const page = await send(new ListPartsCommand({ ...request, ...from }))
    yield page.Parts ?? []
    const next = page.NextPartNumberMarker
    if (!page.IsTruncated || next === undefined || next === marker) return
    marker = next
  }
}

export async function* uploadPages(
  send: Send,
  request: ListMultipartUploadsCommandInput,
): AsyncGenerator<readonly MultipartUpload[], void> {
  let from: { KeyMarker?: string; UploadIdMarker?: string } = {}
  for (;;) {
    const page = await send(new ListMultipartUploadsCommand({ ...request, ...from }))
    yield page.Uploads ?? []
    const { NextKeyMarker: key, NextUploadIdMarker: id } = page
    const isNew = key !== from.KeyMarker || id !== from.UploadIdMarker
    if (!page.IsTruncated || !key || !isNew) return
    // Of uploads to one key, some servers need both markers to go on.
    from = { KeyMarker: key, ...(id ? { UploadIdMarker: id } : {}) }
  }
}
