// Optional private networking: a subnet for the app, one for private endpoints, and what may go out.

@description('Makes names unique.')
param token string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('Address prefixes or one service tag of a token issuer that is not Entra ID.')
param tokenIssuerPrefixes array

@description('Refuse what no rule below lets out.')
param denyOtherOutbound bool

var allowed = [
  {
    name: 'token-issuer'
    tag: 'AzureActiveDirectory'
  }
  {
    name: 'monitoring'
    tag: 'AzureMonitor'
  }
  {
    name: 'storage'
    tag: 'Storage'
  }
  {
    name: 'host-extensions'
    tag: 'AzureFrontDoor.FirstParty'
  }
]
var tagRules = [for (rule, index) in allowed: {
  name: 'allow-${rule.name}'
  properties: {
    access: 'Allow'
    direction: 'Outbound'
    priority: 100 + index
    protocol: 'Tcp'
    sourceAddressPrefix: 'VirtualNetwork'
    sourcePortRange: '*'
    destinationAddressPrefix: rule.tag
    destinationPortRange: '443'
  }
}]
var issuerRules = [for (prefix, index) in tokenIssuerPrefixes: {
  name: 'allow-other-token-issuer-${index}'
  properties: {
    access: 'Allow'
    direction: 'Outbound'
    priority: 200 + index
    protocol: 'Tcp'
    sourceAddressPrefix: 'VirtualNetwork'
    sourcePortRange: '*'
    destinationAddressPrefix: prefix
    destinationPortRange: '443'
  }
}]
var denyRules = [
  {
    name: 'deny-internet'
    properties: {
      access: 'Deny'
      direction: 'Outbound'
      priority: 4000
      protocol: '*'
      sourceAddressPrefix: '*'
      sourcePortRange: '*'
      destinationAddressPrefix: 'Internet'
      destinationPortRange: '*'
    }
  }
]

resource outbound 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-annals-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: concat(tagRules, issuerRules, denyOtherOutbound ? denyRules : [])
  }
}

resource vnet 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: 'vnet-annals-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        '10.80.0.0/16'
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: '10.80.0.0/24'
          networkSecurityGroup: {
            id: outbound.id
          }
          delegations: [
            {
              name: 'flex'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'pe'
        properties: {
          addressPrefix: '10.80.1.0/24'
        }
      }
    ]
  }
}

@description('The virtual network.')
output vnetId string = vnet.id

@description('Subnet of the app.')
output appSubnetId string = '${vnet.id}/subnets/app'

@description('Subnet of the private endpoints.')
output endpointSubnetId string = '${vnet.id}/subnets/pe'
