import { buildModel } from '../schema/index.ts'
import { AuthorActivity } from './activity.ts'
import { Comments } from './comments.ts'
import { Posts } from './posts.ts'
import { PostTags, Tags } from './tags.ts'
import { Users } from './users.ts'
import { defaultVersion, versions } from './versions.ts'

/** The publishing platform that Perigee ships with. Replace it with your own: README, "Change the model". */
export const model = buildModel({
  title: 'Publishing platform',
  resources: [Users, Posts, Comments, Tags, PostTags, AuthorActivity],
  versions,
  defaultVersion,
})
