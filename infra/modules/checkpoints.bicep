// A container whose blobs nobody can change or delete before their time, for signed checkpoints.

@description('Account that keeps the tenants.')
param accountName string

@description('Name of the container.')
param container string

@description('Days that a checkpoint cannot be changed or deleted.')
param retentionDays int

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = {
  name: accountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource checkpoints 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: container
  properties: {
    publicAccess: 'None'
  }
}

// Unlocked: an operator locks it once the days are right, which cannot be undone (docs/OPERATIONS.md).
resource immutable 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-01-01' = {
  parent: checkpoints
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: retentionDays
    allowProtectedAppendWrites: false
  }
}

@description('Name of the container.')
output container string = checkpoints.name
