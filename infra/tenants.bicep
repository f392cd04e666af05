// Silos of tenants, in a resource group of their own. Deployed apart from the app: onboarding a tenant never touches it.
//
//   az deployment group create --resource-group rg-annals-tenants --template-file infra/tenants.bicep \
//     --parameters infra/tenants.parameters.json principalId=<principal id of the app's identity>
targetScope = 'resourceGroup'

@description('A siloed tenant.')
type silo = {
  @description('Id of the tenant.')
  id: string

  @description('Region of the silo.')
  location: string

  @description('Redundancy.')
  sku: 'Standard_LRS' | 'Standard_ZRS' | 'Standard_GRS' | 'Standard_GZRS'
}

@description('The siloed tenants. One that is taken off this list keeps its account.')
param tenants silo[]

@description('The app: principal id of its identity.')
param principalId string

@description('Whether the accounts can be reached from outside of the virtual network.')
@allowed([
  'Enabled'
  'Disabled'
])
param publicNetworkAccess string = 'Enabled'

module silos 'modules/tenant.bicep' = [for tenant in tenants: {
  name: 'tenant-${uniqueString(tenant.id)}'
  params: {
    tenantId: tenant.id
    location: tenant.location
    sku: tenant.sku
    tags: {
      product: 'annals'
    }
    publicNetworkAccess: publicNetworkAccess
    principalId: principalId
  }
}]

@description('Table endpoint of each silo, in the order of the list.')
output tableEndpoints array = [for (tenant, index) in tenants: silos[index].outputs.tableEndpoint]
