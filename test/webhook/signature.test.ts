import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { newSecret } from '../../src/webhook/secret.ts'
import { signatureOf } from '../../src/webhook/signature.ts'

test('the published vector of Standard Webhooks is signed as published', () => {
  const signed = signatureOf('msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}', [
    'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  ])
  expect(signed).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
})

test('what is signed with any secrets, the library of Standard Webhooks verifies with each, and with no other', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.integer({ min: 1, max: 3 }), (text, count) => {
      const secrets = Array.from({ length: count }, newSecret)
      const seconds = Math.floor(Date.now() / 1000)
      const payload = JSON.stringify({ text: text.toWellFormed() })
      const headers = {
        'webhook-id': 'msg_e_1',
        'webhook-timestamp': String(seconds),
        'webhook-signature': signatureOf('msg_e_1', seconds, payload, secrets),
      }
      for (const secret of secrets) expect(new Webhook(secret).verify(payload, headers)).toEqual(JSON.parse(payload))
      expect(() => new Webhook(newSecret()).verify(payload, headers)).toThrow('No matching signature found')
      expect(() => new Webhook(secrets[0]!).verify(`${payload} `, headers)).toThrow('No matching signature found')
    }),
    { numRuns: 50 },
  )
})
