. /etc/profile.d/modules.sh
module load openmpi
