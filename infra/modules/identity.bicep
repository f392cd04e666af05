// The one identity of the app: storage, Event Grid, monitoring and the deployment package, all without a key.
// User-assigned, so that its roles exist before the app starts for the first time.

@description('Name of the identity.')
param name string

@description('Region.')
param location string

@description('Tags.')
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}

@description('Resource id.')
output id string = identity.id

@description('Client id: what the settings name.')
output clientId string = identity.properties.clientId

@description('Principal id: what roles are given to.')
output principalId string = identity.properties.principalId
